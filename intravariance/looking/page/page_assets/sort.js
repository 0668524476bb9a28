// SPDX-License-Identifier: Apache-2.0
"use strict";
// A button in each heading sorts the rows by that column: numbers by data-value, others by their
// text; cells without a value come last in both directions. Rows that are added later come in the
// first order before those that were there.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...body.rows].forEach((row, place) => { row.dataset.place = place; });
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const first = heading.dataset.first;
      const other = first === "ascending" ? "descending" : "ascending";
      const now = heading.getAttribute("aria-sort");
      const next = now === null ? first : now === first ? other : null;
      headings.forEach((one) => one.removeAttribute("aria-sort"));
      if (next) heading.setAttribute("aria-sort", next);
      const rows = [...body.rows].sort((a, b) => a.dataset.place - b.dataset.place);
      body.append(...(next ? sorted(rows, column, next === "ascending" ? 1 : -1) : rows));
    });
  });
}
function sorted(rows, column, sign) {
  const numeric = rows.some((row) => row.cells[column].dataset.value !== undefined);
  const key = (row) => {
    const cell = row.cells[column];
    return numeric ? Number(cell.dataset.value ?? NaN) : cell.textContent;
  };
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (!numeric) return sign * x.localeCompare(y);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return sign * (x - y);
  });
}
