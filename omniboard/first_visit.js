'use strict';

/*
 * Omniboard keeps the choice of columns in the browser and starts with all of them. Here a browser without a
 * choice starts with the useful ones, as wide as a window of 1280 pixels has room for; the others stay in
 * Omniboard's list of columns to show. Likewise the plots start with the losses instead of every metric on one axis.
 */
(function () {
  const table = 'default|RunsTable|1';
  const plots = 'undefined|MetricsPlotView|default'; // so Omniboard looks it up: it forgets to name the database
  if (localStorage.getItem(table)) return;

  const left = ['_id', 'name', 'kind', 'status', 'model', 'data'];
  const right = ['learning_rate', 'seed', 'tags', 'duration'];
  const ofEveryRun = ['_id', 'status', 'tags', 'duration'];
  const later = ['parameters', 'validation_accuracy', 'nfe_forward', 'epoch_seconds']; // they take a metric's whole series
  const omniboards = [
    'experiment_name', 'hostname', 'command', 'format', 'resources', 'start_time', 'stop_time', 'heartbeat', 'result',
    'notes', 'c_data', 'c_model', 'c_solver', 'c_training', 'c_evaluation', 'c_seed'
  ];
  const widths = {
    _id: 54, name: 92, kind: 76, status: 110, model: 132, data: 90, learning_rate: 84, seed: 98, tags: 98,
    duration: 84, start_time: 160, notes: 200
  };
  const WIDTH = 80; // of a number

  function read(collection) {
    const request = new XMLHttpRequest();
    request.open('GET', '/sacred/api/v1/' + collection, false); // Omniboard's script comes after this one
    request.send();
    return JSON.parse(request.responseText);
  }

  function title(key) {
    return key.split('_').map(word => word.charAt(0).toUpperCase() + word.slice(1)).join(' ');
  }

  const own = read('Omniboard.Custom.Columns').map(column => ({name: column.name, value: column.config_path}));
  own.push(...read('Omniboard.Metric.Columns').map(column => ({name: column.name, value: column.name})));
  const ownNames = own.map(column => column.name);
  const isThere = key => ofEveryRun.includes(key) || ownNames.includes(key);
  const between = ownNames.filter(name => ![...left, ...right, ...later].includes(name)); // results, columns of the person's own
  const shown = [...left, ...between, ...right].filter(isThere);
  const hidden = [...later.filter(isThere), ...omniboards];

  const names = {experiment_name: 'experiment.name', hostname: 'host.hostname', tags: 'omniboard.tags', notes: 'omniboard.notes'};
  for (const key of [...shown, ...hidden]) if (key.startsWith('c_')) names[key] = 'config.' + key.slice(2);
  for (const column of own) names[column.name] = column.value;

  localStorage.setItem(table, JSON.stringify({
    columnOrder: shown,
    columnWidths: Object.fromEntries([...shown, ...hidden].map(key => [key, widths[key] || WIDTH])),
    columnNameMap: names,
    metricAndCustomColumns: own,
    dropdownOptions: [
      ...shown.map(key => ({label: title(key), value: key, selected: true})),
      ...hidden.map(key => ({label: title(key), value: key, selected: false}))
    ]
  }));
  localStorage.setItem(plots, JSON.stringify({
    metricNameOptions: ['training.loss', 'validation.loss'].map(name => ({label: name, value: name, selected: true}))
  }));
})();
