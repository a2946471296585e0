'use strict';
// Tables: a click on a heading sorts by that column, the next click reverses the order.
for (const table of document.querySelectorAll('table.sortable')) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.tabIndex = 0;
    const sort = () => {
      const up = heading.getAttribute('aria-sort') === 'descending';
      headings.forEach((other) => other.removeAttribute('aria-sort'));
      heading.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const value = (row) => {
        const text = row.cells[column].textContent.trim();
        const number = Number.parseFloat(text.replace(/,/g, ''));
        return Number.isNaN(number) ? text : number;
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        // Empty cells stay at the end.
        if (x === '' || x === '–') return 1;
        if (y === '' || y === '–') return -1;
        const order = typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === 'number' ? -1 : 1;
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows);
    };
    heading.addEventListener('click', sort);
    heading.addEventListener('keydown', (event) => { if (event.key === 'Enter') sort(); });
  });
}
// Commands: copy buttons, which select the text if the clipboard is not available.
for (const box of document.querySelectorAll('.command')) {
  const button = box.querySelector('button');
  button.addEventListener('click', async () => {
    const text = box.querySelector('pre').textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'copied';
    } catch {
      const range = document.createRange();
      range.selectNodeContents(box.querySelector('pre'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = 'selected';
    }
  });
}
// Probabilities: a slider selects the epoch.
for (const box of document.querySelectorAll('.course')) {
  const data = JSON.parse(box.querySelector('script').textContent);
  const slider = box.querySelector('input');
  const cells = [...box.querySelectorAll('td')];
  const show = () => {
    const epoch = data.epochs[slider.value];
    box.querySelector('output').textContent = `epoch ${epoch.epoch} of ${data.last}`;
    cells.forEach((cell, i) => {
      const p = epoch.values[i];
      const missing = p === null;
      cell.textContent = missing ? '' : p.toFixed(2);
      cell.style.background = missing ? '' : `rgb(var(--accent) / ${(0.75 * p).toFixed(3)})`;
      cell.title = missing ? '' : `${data.names[i]}: ${p.toFixed(3)}`;
      cell.classList.toggle('decoded', epoch.decoded.includes(i));
    });
  };
  slider.addEventListener('input', show);
  show();
}
// The page of a running job reloads itself.
if (document.body.dataset.reload) {
  setTimeout(() => location.reload(), 1000 * Number(document.body.dataset.reload));
}
