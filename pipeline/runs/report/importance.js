/* Which settings matter for a result, as it was computed when the page was written. */

function drawImportance() {
  const {settings, says} = state.data.importances[Number(byId('importance-of').value)];
  byId('importance-says').textContent = says;
  const chart = byId('importance-chart');
  chart.hidden = !settings.length;
  if (!settings.length) return;
  chart.style.height = `${90 + 26 * settings.length}px`;
  const trace = {
    type: 'bar', orientation: 'h', y: settings.map(one => plain(one.name)), x: settings.map(one => one.mean),
    marker: {color: settings.map(one => one.isCertain ? PALETTE[0] : '#c3cad2')},
    error_x: {
      type: 'data', symmetric: false, color: INK, thickness: 1.3, width: 4,
      array: settings.map(one => Math.max(one.high - one.mean, 0)), arrayminus: settings.map(one => Math.max(one.mean - one.low, 0))
    },
    text: settings.map(one => `${plain(one.name)}<br>${shownNumber(one.mean)}, middle 90 %: ${shownNumber(one.low)} to ${shownNumber(one.high)}` +
      (one.isCertain ? '' : '<br>not told from none')),
    textposition: 'none', hovertemplate: '%{text}<extra></extra>'
  };
  const layout = layoutOf({
    xaxis: axisOf('share of the variance', {zeroline: true, zerolinecolor: '#8b95a1'}),
    yaxis: {autorange: 'reversed', automargin: true, type: 'category'}, bargap: 0.35, dragmode: false
  });
  Plotly.react(chart, [trace], layout, {...CONFIG, displayModeBar: false});
}

function setUpImportance() {
  const {importances} = state.data;
  if (!importances.length) {
    byId('importance').querySelector('.controls').hidden = byId('importance-chart').hidden = true;
    byId('importance-says').textContent = 'There are no two trainings of one task on the same data, of which to ask it.';
    return;
  }
  fill(byId('importance-of'), importances.map((one, place) => [String(place), `${variable(one.result).label}, ${one.group}`]), '0');
  byId('importance-of').addEventListener('change', drawImportance);
  drawImportance();
}
