/*
 * Which runs are selected. Every view that has a brush may hold a set of runs; a run is selected when all sets have
 * it.
 */

const state = {data: null, brushes: new Map(), views: []};

function everyRun() {
  return state.data.runs.map((_, run) => run);
}

/** The runs that all brushes let through, but for that of the view `except`. */
function selectedRuns(except) {
  const sets = [...state.brushes].filter(([view]) => view !== except).map(([, runs]) => runs);
  return everyRun().filter(run => sets.every(runs => runs.has(run)));
}

/** A view's brush is now on these runs; with null it is on none, and lets all through. */
function brush(view, runs) {
  if (runs === null && !state.brushes.has(view)) return;
  if (runs === null) state.brushes.delete(view);
  else state.brushes.set(view, new Set(runs));
  redraw(view);
}

/** Draw all views again but the one in which somebody is brushing. */
function redraw(except) {
  for (const view of state.views) if (view.name !== except) view.draw();
}

function clearBrushes() {
  state.brushes.clear();
  for (const view of state.views) if (view.clear) view.clear();
  redraw(null);
}

function variable(name) {
  return state.data.variables.find(one => one.name === name);
}
