/* Draw the page, or say why it cannot be. */

async function start() {
  state.data = JSON.parse(await unpacked('packed-data'));
  await loadPlotly();
  byId('bar').hidden = false;
  setUpColours();
  setUpTable();
  setUpCurves();
  setUpScatters();
  setUpParallel();
  setUpImportance();
  document.body.dataset.isDrawn = 'yes';
}

start().catch(error => {
  const failure = byId('failure');
  failure.hidden = false;
  failure.textContent = typeof DecompressionStream === 'undefined'
    ? 'This browser is too old for the page, which needs one of 2023 or later.'
    : `The page cannot be drawn: ${error.message}`;
});
