/* The colour of a run, the same in all views: by a choice for the whole page. */

const PALETTE = ['#0173b2', '#de8f05', '#029e73', '#d55e00', '#cc78bc', '#ca9161', '#56b4e9', '#949494', '#b5a800', '#e377a9'];
const SCALE = ['#440154', '#414487', '#2a788e', '#22a884', '#7ad151', '#d8c918']; // low to high
const WITHOUT = '#b9c1cb';
const ONE = '', EACH = 'each'; // beside the names of variables
const MOST_EACH = PALETTE.length;

/** Groups of runs of one colour, for the present choice: [{label, colour, runs}]. */
function colourGroups() {
  const choice = byId('colour').value;
  if (choice === EACH) {
    return everyRun().map(run => ({label: runName(run), colour: PALETTE[run % MOST_EACH], runs: [run]}));
  }
  if (choice === ONE) return [{label: 'every run', colour: PALETTE[0], runs: everyRun()}];
  const one = variable(choice);
  const groups = isText(one) || new Set(numbersOf(one)).size <= SCALE.length ? groupsOfValues(one) : groupsOfRanges(one);
  const without = everyRun().filter(run => one.values[run] === null);
  return without.length ? [...groups, {label: NOTHING, colour: WITHOUT, runs: without}] : groups;
}

function groupsOfValues(one) {
  const values = [...new Set(one.values)].filter(value => value !== null);
  const byText = isText(one);
  values.sort((a, b) => byText ? String(a).localeCompare(String(b)) : a - b);
  return values.map((value, place) => ({
    label: shown(one, value),
    colour: byText ? PALETTE[place % PALETTE.length] : SCALE[Math.round(place * (SCALE.length - 1) / Math.max(values.length - 1, 1))],
    runs: everyRun().filter(run => one.values[run] === value)
  }));
}

/** Six ranges with about as many runs each. */
function groupsOfRanges(one) {
  const sorted = numbersOf(one).sort((a, b) => a - b);
  const edges = SCALE.map((_, place) => sorted[Math.floor(place * sorted.length / SCALE.length)]);
  const groups = edges.map((edge, place) => ({
    low: edge, high: place + 1 < edges.length ? edges[place + 1] : Infinity, colour: SCALE[place], runs: []
  }));
  for (const run of everyRun()) {
    const value = one.values[run];
    if (typeof value !== 'number') continue;
    groups.filter(group => value >= group.low && value < group.high).slice(0, 1).forEach(group => group.runs.push(run));
  }
  const last = sorted[sorted.length - 1];
  for (const group of groups) group.label = `${shown(one, group.low)} to ${shown(one, Math.min(group.high, last))}`;
  return groups.filter(group => group.runs.length);
}

function drawLegend() {
  const groups = colourGroups(), legend = byId('legend');
  legend.replaceChildren();
  if (byId('colour').value === ONE) return;
  for (const {label, colour} of groups.slice(0, 12)) {
    const entry = document.createElement('span'), dot = document.createElement('i');
    dot.style.background = colour;
    entry.append(dot, shortened(label, 48));
    legend.append(entry);
  }
  if (groups.length > 12) legend.append(`and ${groups.length - 12} more`);
}

function setUpColours() {
  const {variables, runs} = state.data;
  const model = variable('model');
  let chosen = ONE;
  if (runs.length <= MOST_EACH) chosen = EACH;
  else if (model && new Set(model.values).size <= PALETTE.length) chosen = 'model';
  else if (state.data.first.result) chosen = state.data.first.result;
  const pairs = [[ONE, 'nothing', 'none']];
  if (runs.length <= 3 * MOST_EACH) pairs.push([EACH, 'run', 'none']);
  pairs.push(...variables.map(one => [one.name, one.label, one.kind]));
  fill(byId('colour'), pairs, chosen, {none: 'All alike or each', ...KINDS});
  byId('colour').addEventListener('change', () => redraw(null));
  state.views.push({name: 'legend', draw: drawLegend});
  drawLegend();
}
