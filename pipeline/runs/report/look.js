/* What all views have in common: text, numbers, axes, charts. Stored text is shown as text and never as HTML. */

const INK = '#1c2430', FAINT = '#5b6675', LINE = '#d9dee5', NOTHING = '–';
const NOT_SELECTED = 0.12; // opacity
const CONFIG = {
  responsive: true, displaylogo: false, doubleClickDelay: 400,
  modeBarButtonsToRemove: ['autoScale2d', 'zoomIn2d', 'zoomOut2d', 'toggleSpikelines']
};

/** Stored text for Plotly, which takes some HTML in labels. */
function plain(text) {
  return String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

function shortened(text, most) {
  return text.length <= most ? text : text.slice(0, most - 1) + '…';
}

function shownNumber(value) {
  if (value === 0 || Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(2).replace(/\.?0*e\+?/, 'e') : String(Number(value.toPrecision(4)));
}

/** A value of a variable in words. */
function shown(one, value) {
  if (value === null) return NOTHING;
  if (typeof value === 'string') return value;
  return one.isShare ? (100 * value).toFixed(2) + ' %' : shownNumber(value);
}

/** The same beside an axis, whose numbers are round. */
function shownTick(one, value) {
  return one.isShare ? `${Number((100 * value).toPrecision(4))} %` : shownNumber(value);
}

function runName(run) {
  const {id, label} = state.data.runs[run];
  return `run ${id}: ${label}`;
}

function counted(number, thing) {
  return `${number.toLocaleString('en')} ${thing}${number === 1 ? '' : 's'}`;
}

function numberOf(values, isOne) {
  return values.filter(isOne).length;
}

function isText(one) {
  return one.values.some(value => typeof value === 'string');
}

/** The different values of a variable that is shown as text, in order. */
function textsOf(one) {
  return [...new Set(one.values.filter(value => value !== null).map(String))].sort();
}

function numbersOf(one) {
  return one.values.filter(value => typeof value === 'number');
}

/** Whether a logarithmic axis serves: above 0, and over two decades. */
function isWide(one) {
  const numbers = numbersOf(one);
  const low = Math.min(...numbers), high = Math.max(...numbers);
  return !isText(one) && numbers.length > 1 && low > 0 && high / low > 100;
}

function axisOf(title, more) {
  return {
    title: {text: title, font: {size: 13}, standoff: 10}, gridcolor: '#e9ecf0', linecolor: '#8b95a1', showline: true,
    zeroline: false, exponentformat: 'power', ticks: 'outside', tickcolor: '#8b95a1', automargin: true, ...more
  };
}

function layoutOf(more) {
  return {
    font: {family: 'system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif', size: 12.5, color: INK},
    margin: {l: 60, r: 16, t: 14, b: 46}, paper_bgcolor: '#fff', plot_bgcolor: '#fff', showlegend: false, hovermode: 'closest',
    hoverlabel: {bgcolor: '#fff', bordercolor: LINE, font: {size: 12.5, color: INK}, align: 'left', namelength: -1}, ...more
  };
}

function byId(id) {
  return document.getElementById(id);
}

/** Fill a choice with [value, text] pairs; pairs of one kind below a heading where `kinds` names them. */
function fill(select, pairs, chosen, kinds) {
  const groups = new Map();
  select.replaceChildren();
  for (const [value, text, kind] of pairs) {
    let into = select;
    if (kinds) {
      if (!groups.has(kind)) {
        const group = document.createElement('optgroup');
        group.label = kinds[kind];
        groups.set(kind, group);
        select.append(group);
      }
      into = groups.get(kind);
    }
    into.append(new Option(text, value, false, value === chosen));
  }
}

const KINDS = {setting: 'Settings', description: 'Descriptions', result: 'Results'};

function fillWithVariables(select, chosen) {
  fill(select, state.data.variables.map(one => [one.name, one.label, one.kind]), chosen, KINDS);
}
