/* The selected runs, as `odenet runs` lists them. Ticked ones are a brush like any other. */

const sorting = {column: null, isDescending: false};
const ticked = new Set();
let lines = [];

function lineOf(run) {
  const line = document.createElement('tr'), first = document.createElement('td'), box = document.createElement('input');
  box.type = 'checkbox';
  box.setAttribute('aria-label', `select ${runName(run)}`);
  box.addEventListener('change', () => tick(run, box.checked));
  first.append(box);
  line.append(first);
  for (const {heading, cells, isNumber} of state.data.columns) {
    const cell = document.createElement('td');
    if (isNumber) cell.className = 'r';
    const {address} = state.data.runs[run];
    if (heading === 'run' && address) {
      const link = document.createElement('a');
      link.href = address; link.rel = 'noreferrer'; link.target = '_blank'; link.textContent = cells[run];
      cell.append(link);
    } else {
      cell.textContent = cell.title = cells[run];
    }
    line.append(cell);
  }
  line.dataset.run = run;
  return line;
}

function tick(run, isOn) {
  if (isOn) ticked.add(run); else ticked.delete(run);
  brush('table', ticked.size ? ticked : null);
}

function sortKey(column, run) {
  if (column.order) return column.order[run];
  const number = column.isNumber ? parseFloat(column.cells[run].replace(/,/g, '')) : NaN;
  if (column.isNumber) return Number.isNaN(number) ? null : number;
  return column.cells[run] === NOTHING ? null : column.cells[run];
}

/** The order of the lines: runs without a value last, whichever way the others are sorted. */
function inOrder(runs) {
  if (sorting.column === null) return runs;
  const column = state.data.columns[sorting.column], sign = sorting.isDescending ? -1 : 1;
  return [...runs].sort((a, b) => {
    const first = sortKey(column, a), second = sortKey(column, b);
    if (first === null || second === null) return (first === null) - (second === null);
    return sign * (typeof first === 'string' ? first.localeCompare(second) : first - second);
  });
}

function drawTable() {
  const runs = selectedRuns('table'), all = state.data.runs.length;
  byId('rows').replaceChildren(...inOrder(runs).map(run => lines[run]));
  lines.forEach((line, run) => {
    line.className = ticked.has(run) ? 'ticked' : '';
    line.querySelector('input').checked = ticked.has(run);
  });
  const selected = selectedRuns().length;
  byId('selected').textContent = selected === all ? `All ${counted(all, 'run')}` : `${selected.toLocaleString('en')} of ${counted(all, 'run')}`;
  byId('clear').disabled = !state.brushes.size;
  byId('runs-note').textContent =
    (runs.length === all ? '' : `${runs.length.toLocaleString('en')} of ${counted(all, 'run')}: those selected above. `) +
    'Tick runs to look at them alone; a heading sorts.';
  [...byId('headings').children].slice(1).forEach((heading, place) => {
    const arrow = sorting.column !== place ? '' : sorting.isDescending ? ' ↓' : ' ↑';
    heading.textContent = state.data.columns[place].heading + arrow;
  });
}

function setUpTable() {
  lines = everyRun().map(lineOf);
  byId('headings').append(document.createElement('th'));
  state.data.columns.forEach((column, place) => {
    const heading = document.createElement('th');
    heading.scope = 'col';
    if (column.isNumber) heading.className = 'r';
    heading.addEventListener('click', () => {
      sorting.isDescending = sorting.column === place ? !sorting.isDescending : column.isNumber;
      sorting.column = place;
      drawTable();
    });
    byId('headings').append(heading);
  });
  byId('clear').addEventListener('click', () => { ticked.clear(); clearBrushes(); });
  state.views.push({name: 'table-lines', draw: drawTable}); // not the brush's name: the table follows its own ticks
  drawTable();
}
