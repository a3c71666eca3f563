'use strict';

/* What Omniboard's page calls where patches.js has changed it. */
window.odenet = (function () {
  /* The filters, so that a line has room for all above the table, and the box of operators for the operator. */
  const style = document.createElement('style');
  style.textContent = `
    .filters .filters-select-container .col-xs-5 { width: 39%; }
    .filters .filters-select-container .col-xs-2 { width: 22%; }
    @media (min-width: 1440px) and (max-width: 1519px) { .filters .filters-select-container { width: 500px; } }
  `;
  document.head.append(style);

  /* Columns in which one of the loaded rows has a value; tags and notes are there to be written. */
  function columnsWithValues(columns, list) {
    const rows = list ? list.getDataArray() : [];
    if (rows.length === 0) return columns;
    const isWritten = key => key === 'tags' || key === 'notes';
    const isEmpty = value => value === undefined || value === null || value === '';
    return columns.filter(key => isWritten(key) || rows.some(row => !isEmpty(row[key])));
  }

  /* A cell's text: of a number four decimals, or four significant digits where that is more, and no more than nine signs. */
  function text(value) {
    if (typeof value === 'string') return value;
    if (typeof value !== 'number' || Number.isInteger(value)) return JSON.stringify(value);
    const size = Math.abs(value);
    const decimals = Math.max(4, 3 - Math.floor(Math.log10(size)));
    const plain = String(Number(value.toFixed(Math.min(decimals, 100))));
    return size < 1e-3 && plain.length > 9 ? Number(plain).toExponential() : plain;
  }

  /* What a cell says of itself below the mouse: all of it. */
  function title(value) {
    return value === undefined ? '' : String(value);
  }

  /* The box for tags, whose list of them opens by a click. */
  const tagBox = {isClearable: false, components: {DropdownIndicator: null, IndicatorSeparator: null}};

  /*
   * The box for a filter's value: what is typed comes first and is taken, by Enter, Tab or a click elsewhere; values of
   * the store that contain it follow, for the mouse and the arrow keys.
   */
  const valueBox = table => ({
    createOptionPosition: 'first',
    allowCreateWhileLoading: true,
    isValidNewOption: typed => typed.trim() !== '',
    filterOption: ({label, value, data}, typed) =>
      Boolean(data.__isNew__) || (value !== typed && label.toLowerCase().includes(typed.toLowerCase())),
    onBlur: event => takeTyped(table, event.target.value)
  });

  function takeTyped(table, typed) {
    if (typed.trim() === '') return;
    const {filterColumnOperator, filterColumnValue} = table.state;
    const values = filterColumnOperator === '$in' ? [...filterColumnValue, typed].map(value => ({value})) : {value: typed};
    table._handleFilterColumnValueChange(values);
  }

  /* The colour of a series beyond those that Omniboard names: hues by the golden angle, no two the same. */
  function colour(index) {
    const hue = ((index * 137.508) % 360).toFixed(2);
    return `hsl(${hue}, 65%, ${index % 2 ? 35 : 55}%)`;
  }

  return {columnsWithValues, text, title, tagBox, valueBox, colour};
})();
