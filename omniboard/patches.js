'use strict';

/*
 * Changes of Omniboard's page, made when it is served: its package stays as the lock file has it. The lock fixes every
 * byte of the package, so that each piece is found exactly once; where it is not, the dashboard does not start.
 */

const PATCHES = [
  {
    why: 'Columns that none of the shown runs has stay away.',
    find: 'o.map(function(t,o){return O.a.createElement(P.Column,{key:I+o,allowCellsRecycling:!0',
    replace: 'odenet.columnsWithValues(o,n).map(function(t,o){return O.a.createElement(P.Column,{key:I+o,allowCellsRecycling:!0'
  },
  {
    why: 'Numbers fit their column; below the mouse they are whole.',
    find: 'i="duration"===r&&a?L()(a):"string"!==typeof a?JSON.stringify(a):a;return A.a.createElement(T.Cell,o,i)',
    replace:
      'i="duration"===r&&a?L()(a):odenet.text(a);' +
      'return A.a.createElement(T.Cell,Object.assign({title:"duration"===r?i:odenet.title(a)},o),i)'
  },
  {
    why: 'A cell of tags shows them, where arrows and crosses took the room.',
    find: 'placeholder:"Add Tags..."',
    replace: '...odenet.tagBox,placeholder:"Add Tags..."'
  },
  {
    why: 'A filter has the value that was typed, not the first one that the store suggests.',
    find: 'O.a.createElement(H.a,{key:T,defaultOptions:!0,"test-attr":"filter-column-value"',
    replace: 'O.a.createElement(H.a,{...odenet.valueBox(e),key:T,defaultOptions:!0,"test-attr":"filter-column-value"'
  },
  {
    why: 'After each letter the first entry is marked, which is what was typed; a mark below the mouse does not stay.',
    find: 's=this.getNextFocusedValue(a),l=this.getNextFocusedOption(i.focusable);this.setState({menuOptions:i,selectValue:a',
    replace:
      's=this.getNextFocusedValue(a),l=e.inputValue===o?this.getNextFocusedOption(i.focusable):i.focusable[0];' +
      'this.setState({menuOptions:i,selectValue:a',
    times: 2 // the package holds react-select twice
  },
  {
    why: 'No two series of a plot have the same colour.',
    find: 'l=(e.length/2+r)%b.length;if(h[i]){',
    replace: 'l=e.length/2;if(h[i]){b[l]=b[l]||odenet.colour(l);'
  },
  {
    why: 'Of a single epoch there is a point, as there is no line.',
    find: 'type:"scatter",mode:c,name:i,x:h[i][s],y:p',
    replace: 'type:"scatter",mode:p.length===1?"lines+markers":c,name:i,x:h[i][s],y:p'
  }
];

/* The source with all changes. */
function patched(source) {
  return PATCHES.reduce((text, {why, find, replace, times = 1}) => {
    const parts = text.split(find);
    if (parts.length !== times + 1) throw new Error(`Omniboard's page is not the one that patches.js changes: ${why}`);
    return parts.join(replace);
  }, source);
}

module.exports = {patched};
