/* Two variables against each other, with the Pareto front where it is known which values of both are better. */

/** The points that no other one is better than in one variable and at least as good as in the other, by x. */
function paretoFront(points, betterX, betterY) {
  const x = point => betterX === 'lower' ? point.x : -point.x, y = point => betterY === 'lower' ? point.y : -point.y;
  const front = [];
  for (const point of [...points].sort((a, b) => x(a) - x(b) || y(a) - y(b))) {
    if (!front.length || y(point) < y(front[front.length - 1])) front.push(point);
  }
  return front.sort((a, b) => a.x - b.x);
}

function scatterView(name, first) {
  const part = which => byId(`${name}-${which}`);
  const chart = part('chart');

  function axis(one, which) {
    const arrow = one.better ? ` (${one.better} is better)` : '';
    const type = isText(one) ? 'category' : part(`log-${which}`).checked ? 'log' : 'linear';
    return axisOf(plain(one.label) + arrow, {type, ...(isText(one) ? namesOf(one) : {}), ...(one.isShare ? {tickformat: '.4~p'} : {})});
  }

  function namesOf(one) {
    const texts = textsOf(one);
    return {
      categoryorder: 'array', categoryarray: texts.map(plain), tickmode: 'array', tickvals: texts.map(plain),
      ticktext: texts.map(text => plain(shortened(text, 22)))
    };
  }

  function coordinate(one, run) {
    return isText(one) ? plain(one.values[run]) : one.values[run];
  }

  function frontOf(runs, x, y) {
    if (!x.better || !y.better || x === y) return [];
    return paretoFront(runs.map(run => ({run, x: x.values[run], y: y.values[run]})), x.better, y.better);
  }

  function draw() {
    const x = variable(part('x').value), y = variable(part('y').value);
    if (!x || !y) return;
    const runs = everyRun().filter(run => x.values[run] !== null && y.values[run] !== null);
    const there = new Set(runs), selected = new Set(selectedRuns());
    const front = frontOf(runs.filter(run => selected.has(run)), x, y);
    const traces = colourGroups().map(({label, colour, runs: ofGroup}) => {
      const shownRuns = ofGroup.filter(run => there.has(run));
      return {
        type: 'scatter', mode: 'markers', name: plain(label), customdata: shownRuns,
        x: shownRuns.map(run => coordinate(x, run)), y: shownRuns.map(run => coordinate(y, run)),
        text: shownRuns.map(run => [runName(run), `${x.label}: ${shown(x, x.values[run])}`, `${y.label}: ${shown(y, y.values[run])}`].map(plain).join('<br>')),
        hovertemplate: '%{text}<extra></extra>',
        marker: {color: colour, size: runs.length > 300 ? 6 : 8, opacity: 0.8, line: {color: '#fff', width: 0.6}},
        selectedpoints: state.brushes.size ? shownRuns.flatMap((run, place) => selected.has(run) ? [place] : []) : null,
        unselected: {marker: {opacity: NOT_SELECTED}}
      };
    }).filter(trace => trace.customdata.length);
    if (front.length) {
      traces.unshift({
        type: 'scatter', mode: 'lines', name: 'Pareto front', customdata: front.map(point => point.run), hoverinfo: 'skip',
        x: front.map(point => point.x), y: front.map(point => point.y), line: {color: INK, width: 1.4, shape: x.better === 'lower' ? 'hv' : 'vh', dash: 'dot'}
      });
      traces.push({
        type: 'scatter', mode: 'markers', name: 'on the front', hoverinfo: 'skip', x: front.map(point => point.x), y: front.map(point => point.y),
        marker: {size: 13, color: 'rgba(0,0,0,0)', line: {color: INK, width: 1.5}}
      });
    }
    const layout = layoutOf({xaxis: axis(x, 'x'), yaxis: axis(y, 'y'), dragmode: 'select', uirevision: `${x.name} ${y.name}`});
    if (state.brushes.has(name) && chart.layout && chart.layout.selections) layout.selections = chart.layout.selections;
    Plotly.react(chart, traces, layout, CONFIG);
    part('note').textContent = note(numberOf(runs, run => selected.has(run)), selected.size, front);
  }

  function note(having, selected, front) {
    const said = [having === selected ? '' : `${having} of the ${counted(selected, 'selected run')} ${having === 1 ? 'has' : 'have'} both.`];
    if (front.length) {
      const ids = front.map(point => state.data.runs[point.run].id);
      said.push(`On the Pareto front: ${ids.length > 12 ? ids.slice(0, 12).join(', ') + ' …' : ids.join(', ')}.`);
    }
    said.push('Drag to select; a click beside it drops the selection.');
    return said.join(' ').trim();
  }

  function choose() {
    for (const which of ['x', 'y']) {
      const one = variable(part(which).value);
      part(`log-${which}`).disabled = isText(one) || Math.min(...numbersOf(one)) <= 0;
      part(`log-${which}`).checked = isWide(one);
    }
    anew();
  }

  function anew() { // what was brushed was a part of other axes
    if (chart.layout) chart.layout.selections = [];
    brush(name, null);
    draw();
  }

  fillWithVariables(part('x'), first.x);
  fillWithVariables(part('y'), first.y);
  for (const which of ['x', 'y']) {
    part(which).addEventListener('change', choose);
    part(`log-${which}`).addEventListener('change', anew);
  }
  choose();
  chart.on('plotly_selected', event => { // of nothing when somebody clicks beside it
    if (event && (event.range || event.lassoPoints)) {
      brush(name, event.points.map(point => point.customdata));
      draw();
    } else if (state.brushes.has(name)) {
      anew();
    }
  });
  state.views.push({name, draw, clear: () => { if (chart.layout) chart.layout.selections = []; }});
}

function setUpScatters() {
  const {variables, first} = state.data;
  if (variables.length < 2) {
    for (const name of ['scatter', 'tradeoff']) byId(name).hidden = true;
    return;
  }
  const setting = firstSetting() || variables[0].name;
  const result = first.result || variables[1].name;
  scatterView('scatter', {x: setting, y: result});
  scatterView('tradeoff', {x: first.cost || setting, y: result});
}

/** The most important setting, or else the learning rate, or else any that varies. */
function firstSetting() {
  const found = state.data.importances.find(one => one.settings.length);
  if (found && variable(found.settings[0].name)) return found.settings[0].name;
  const settings = state.data.variables.filter(one => one.kind === 'setting').map(one => one.name);
  return settings.includes('training.lr') ? 'training.lr' : settings[0];
}
