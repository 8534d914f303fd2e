"use strict";

// Whoever has no script sees the page without what needs one.
for (const hidden of document.querySelectorAll("[hidden]")) hidden.hidden = false;

// The clipboard of the browser is there only on pages from a secure place; a file opened from the disk may have none.
async function copy(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { /* not allowed: go on with the old way */ }
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button || button.dataset.busy) return;
  const label = button.textContent;
  button.dataset.busy = "1";
  button.textContent = (await copy(button.dataset.copy)) ? "copied" : "failed";
  setTimeout(() => { button.textContent = label; delete button.dataset.busy; }, 1200);
});

function value(row, column, type) {
  const text = row.cells[column].textContent.trim();
  if (type !== "number") return text;
  // A dash is less than any number.
  const number = parseFloat(text);
  return Number.isNaN(number) ? -Infinity : number;
}

function sort(table, column, type, descending) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [value(row, column, type), row]);
  rows.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (descending ? -1 : 1));
  body.append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = Array.from(table.tHead.rows[0].cells).filter((cell) => cell.dataset.type);
  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, heading.cellIndex, heading.dataset.type, descending);
    });
  }
}

const filter = document.getElementById("filter");
if (filter) {
  const rows = Array.from(document.getElementById("leaders").tBodies[0].rows);
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.querySelector(".formula").textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    document.getElementById("count").textContent = `${shown} of ${rows.length}`;
  });
}
