/* Parallel coordinates: a line a run through an axis for each setting and result. Plotly draws them with WebGL. */

const MOST_TICKS = 24, MOST_AXES = 8;
const FINE = 250; // parts of an axis: Plotly's brush goes from one of its ticks to another, so there are many without a text
const LETTER = 7.4; // pixels
const NARROWEST = 96; // pixels from one axis to the next: a narrow window scrolls
const GOLDEN = 0.618034; // multiples of it, less their whole part, spread evenly however many there are

function hasWebGL() {
  const canvas = document.createElement('canvas');
  return Boolean(canvas.getContext('webgl2') || canvas.getContext('webgl'));
}

function roundNumbers(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough * 0.999);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9); tick * step <= high + 1e-9 * step; tick++) ticks.push(tick * step);
  return ticks;
}

/**
 * The places of a variable's values on its axis, and what stands beside it. Runs without a value pass below; those of
 * the same text are spread a little.
 */
function dimensionOf(one, runs, letters) {
  const texts = isText(one) ? textsOf(one) : null;
  const logarithmic = isWide(one);
  const place = value => texts ? texts.indexOf(String(value)) : logarithmic ? Math.log10(value) : value;
  const places = one.values.filter(value => value !== null).map(place);
  let low = Math.min(...places), high = Math.max(...places);
  if (texts || !(low < high)) [low, high] = [low - 0.5, high + 0.5];
  let ticks = texts
    ? texts.map((text, index) => [index, shortened(text, 16)]).filter((_, index) => index % Math.ceil(texts.length / MOST_TICKS) === 0)
    : roundNumbers(low, high).map(tick => [tick, shownTick(one, logarithmic ? 10 ** tick : Number(tick.toPrecision(6)))]);
  if (!texts) ticks = withFineTicks(ticks, low, high);
  const absent = low - 0.14 * (high - low);
  const isAbsent = one.values.includes(null);
  if (isAbsent) ticks = [[absent, 'none'], ...ticks];
  return {
    name: one.name, label: plain(shortened(one.label, letters)), multiselect: true,
    values: runs.map(run => one.values[run] === null ? absent : place(one.values[run]) + (texts ? spread(run) : 0)),
    range: [isAbsent ? absent : low, high], tickvals: ticks.map(([tick]) => tick), ticktext: ticks.map(([, text], index) => text + ' '.repeat(index)) // Plotly takes ticks of one text for one; SVG drops the spaces
  };
}

/** With those between them that have no text, in order. */
function withFineTicks(ticks, low, high) {
  const fine = Array.from({length: FINE + 1}, (_, part) => [low + part * (high - low) / FINE, '']);
  return [...new Map([...fine, ...ticks])].sort(([a], [b]) => a - b);
}

function spread(run) {
  return ((run * GOLDEN + 0.5) % 1 - 0.5) * 0.25;
}

function chosenAxes() {
  const names = [...byId('axes').querySelectorAll('input:checked')].map(box => box.value);
  const before = (byId('parallel-chart').data || [{dimensions: []}])[0].dimensions.map(one => one.name);
  return [...before.filter(name => names.includes(name)), ...names.filter(name => !before.includes(name))]; // as somebody has moved them
}

function drawParallel() {
  const runs = selectedRuns('parallel'), names = chosenAxes(), chart = byId('parallel-chart');
  const before = new Map((chart.data || [{dimensions: []}])[0].dimensions.map(one => [one.name, one.constraintrange]));
  const groups = colourGroups(), group = new Map(groups.flatMap((one, place) => one.runs.map(run => [run, place])));
  const last = Math.max(groups.length - 1, 1);
  const scale = groups.flatMap(({colour}, place) => [[place / (last + 1), colour], [(place + 1) / (last + 1), colour]]);
  if (groups.length === 1) scale.push([1, groups[0].colour]);
  chart.style.minWidth = `${names.length * NARROWEST}px`;
  const letters = Math.floor(chart.clientWidth / Math.max(names.length, 5) / LETTER);
  const dimensions = names.map(name => {
    const range = before.get(name);
    return {...dimensionOf(variable(name), runs, letters), ...(range && state.brushes.has('parallel') ? {constraintrange: range} : {})};
  });
  const trace = {
    type: 'parcoords', dimensions, labelfont: {size: 12.5}, tickfont: {size: 11.5, color: FAINT}, rangefont: {size: 1, color: 'rgba(0,0,0,0)'},
    line: {color: runs.map(run => group.get(run) + 0.5), cmin: 0, cmax: last + 1, colorscale: scale},
    unselected: {line: {color: '#9aa3ae', opacity: 0.15}}
  };
  chart.hidden = dimensions.length < 2;
  if (dimensions.length >= 2) Plotly.react(chart, [trace], layoutOf({margin: {l: 112, r: 70, t: 44, b: 18}}), {...CONFIG, displayModeBar: false});
  byId('parallel-note').textContent = dimensions.length < 2 ? 'Choose at least two axes.' : '';
}

/** The ranges that are selected on an axis. */
function rangesOf(dimension) {
  const range = dimension.constraintrange;
  if (!range || !range.length) return [];
  return Array.isArray(range[0]) ? range : [range];
}

/** Whether somebody has clicked on an axis of numbers, which selects from one of its fine ticks to the next. */
function isClicked(dimension) {
  const [low, high] = dimension.range;
  return !isText(variable(dimension.name)) && rangesOf(dimension).some(([from, to]) => to - from < 2 * (high - low) / FINE);
}

/** The runs within the ranges that are selected on the axes, whether the other brushes let them through or not. */
function brushParallel() {
  const {dimensions} = byId('parallel-chart').data[0];
  const clicked = dimensions.filter(isClicked);
  for (const one of clicked) delete one.constraintrange;
  const limits = dimensions.filter(one => rangesOf(one).length)
    .map(one => ({ranges: rangesOf(one), places: dimensionOf(variable(one.name), everyRun(), MOST_TICKS).values}));
  const isWithin = run => limits.every(({ranges, places}) => ranges.some(([low, high]) => places[run] >= low && places[run] <= high));
  brush('parallel', limits.length ? everyRun().filter(isWithin) : null);
  if (clicked.length) drawParallel();
}

/** The settings that vary, the most important first, or else those that most runs have, and the result. */
function firstAxes() {
  const importance = state.data.importances.find(one => one.settings.length);
  const important = importance ? importance.settings.map(one => one.name) : [];
  const variety = name => new Set(variable(name).values).size;
  const having = name => numberOf(variable(name).values, value => value !== null);
  const settings = state.data.variables.filter(one => one.kind === 'setting').map(one => one.name)
    .filter(name => !(name === 'data.name' && variable('data'))).sort((a, b) => having(b) - having(a) || variety(b) - variety(a));
  const ordered = [...important.filter(name => settings.includes(name)), ...settings.filter(name => !important.includes(name) && name !== 'seed')];
  const descriptions = ['model', 'data'].filter(name => variable(name));
  const results = [state.data.first.cost, state.data.first.result].filter(name => name);
  return [...descriptions, ...ordered.slice(0, MOST_AXES - results.length - descriptions.length), ...results];
}

function setUpParallel() {
  if (!hasWebGL()) {
    byId('parallel').querySelectorAll('.note, details, .chart').forEach(part => { part.hidden = true; });
    byId('parallel-note').hidden = false;
    byId('parallel-note').textContent = 'This browser has no WebGL, without which parallel coordinates cannot be drawn; all else on this page is whole.';
    return;
  }
  const first = firstAxes();
  const ordered = [...first.map(variable), ...state.data.variables.filter(one => !first.includes(one.name))];
  for (const one of ordered) {
    const label = document.createElement('label'), box = document.createElement('input');
    box.type = 'checkbox'; box.value = one.name; box.checked = first.includes(one.name);
    label.append(box, one.label);
    byId('axes').append(label);
  }
  byId('axes').addEventListener('change', () => { drawParallel(); if (byId('parallel-chart').data) brushParallel(); });
  drawParallel();
  if (!byId('parallel-chart').on) Plotly.newPlot('parallel-chart', [], layoutOf({}), CONFIG);
  byId('parallel-chart').on('plotly_restyle', brushParallel);
  const clear = () => { for (const one of (byId('parallel-chart').data[0] || {dimensions: []}).dimensions) delete one.constraintrange; };
  state.views.push({name: 'parallel', draw: drawParallel, clear});
}
