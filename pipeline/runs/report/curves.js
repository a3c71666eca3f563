/* A metric over epochs, of the selected runs. */

/** The exponential average of a series, free of the weight of its start; gaps stay gaps. */
function smooth(values, weight) {
  let sum = 0, norm = 0;
  return values.map(value => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
}

/** The curves of some runs as one line with gaps between them. */
function joined(curves, weight) {
  const line = {x: [], y: [], text: [], customdata: []};
  for (const [run, steps, values] of curves) {
    const name = plain(runName(run)), smoothed = weight ? smooth(values, weight) : values;
    smoothed.forEach((value, place) => {
      line.x.push(state.data.metrics.steps[steps][place]);
      line.y.push(value);
      line.text.push(name);
      line.customdata.push(run);
    });
    line.x.push(null); line.y.push(null); line.text.push(''); line.customdata.push(run);
  }
  return line;
}

const FAR = 20, USUAL = 0.98;

/** Where the axis ends at first: what lies far beyond nearly all values, as a loss that diverges, is left out. */
function usualRange(traces) {
  const values = traces.flatMap(trace => trace.y).filter(value => value !== null).sort((a, b) => a - b);
  const usual = values[Math.floor(USUAL * (values.length - 1))], low = values[0], high = values[values.length - 1];
  if (!(high > FAR * Math.max(Math.abs(usual), Math.abs(low)))) return null;
  return [low - 0.05 * (usual - low), usual + 0.15 * (usual - low)];
}

function drawCurves() {
  const metric = state.data.metrics.byName[byId('metric').value];
  const weight = Number(byId('smoothing').value);
  byId('smoothed').textContent = weight ? weight.toFixed(2) : '0';
  if (!metric) return;
  const selected = new Set(selectedRuns());
  const traces = [];
  let drawn = 0;
  for (const {label, colour, runs} of colourGroups()) {
    const ofGroup = new Set(runs);
    const curves = metric.curves.filter(([run]) => ofGroup.has(run) && selected.has(run));
    if (!curves.length) continue;
    drawn += curves.length;
    const style = {type: 'scatter', name: plain(label), mode: curves.some(([, , values]) => values.length === 1) ? 'lines+markers' : 'lines'};
    const width = selected.size > 60 ? 1 : 1.8, opacity = selected.size > 200 ? 0.45 : 0.9;
    if (weight) traces.push({...joined(curves, 0), ...style, opacity: 0.22, hoverinfo: 'skip', line: {color: colour, width: 1}});
    traces.push({
      ...joined(curves, weight), ...style, opacity, line: {color: colour, width}, marker: {size: 5},
      hovertemplate: '%{text}<br>%{x}: %{y:.5~g}<extra></extra>'
    });
  }
  const type = byId('logarithmic').checked ? 'log' : 'linear';
  const range = type === 'linear' ? usualRange(traces) : null;
  const layout = layoutOf({
    xaxis: axisOf(metric.axis), yaxis: axisOf(plain(byId('metric').value), {type, ...(range ? {range} : {})}), dragmode: 'zoom',
    uirevision: `${byId('metric').value} ${type}` // a zoom stays while the runs change
  });
  Plotly.react('curves-chart', traces, layout, CONFIG);
  const lacking = selected.size - drawn;
  const smoothing = weight ? ' Faint: the values themselves; strong: their exponential average over the points that are there.' : '';
  byId('curves-note').textContent =
    `${counted(drawn, 'curve')}${lacking ? `; ${lacking} of the selected runs have no ${byId('metric').value}` : ''}. ` +
    `Drag to zoom, double click to see all again.${range ? ' A few values lie far above; a second double click shows them.' : ''}${smoothing}`;
}

function setUpCurves() {
  const names = Object.keys(state.data.metrics.byName);
  if (!names.length) {
    byId('curves').querySelector('.controls').hidden = byId('curves-chart').hidden = true;
    byId('curves-note').textContent = 'None of the runs has a point of a metric.';
    return;
  }
  const first = ['validation.loss', 'training.loss'].find(name => names.includes(name)) || names[0];
  fill(byId('metric'), names.map(name => [name, name]), first);
  for (const id of ['metric', 'logarithmic']) byId(id).addEventListener('change', drawCurves);
  byId('smoothing').addEventListener('input', drawCurves);
  state.views.push({name: 'curves', draw: drawCurves});
  drawCurves();
}
