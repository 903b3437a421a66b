"use strict";

// What a cell is sorted by: its data-value where it has one, else its text.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  return (cell.dataset.value ?? cell.textContent).trim();
};

// Numbers by size where a column has only numbers; what is missing comes last either way.
function sort(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row, at) => ({ row, at, value: valueOf(row, column) }));
  const absent = ({ value }) => value === "" || value === "—";
  const numeric = rows.every((each) => absent(each) || !Number.isNaN(Number(each.value)));
  const compare = (a, b) =>
    numeric ? a.value - b.value : a.value.localeCompare(b.value, "en", { numeric: true });
  rows.sort(
    (a, b) =>
      absent(a) - absent(b) ||
      (absent(a) ? 0 : (descending ? -1 : 1) * compare(a, b)) ||
      a.at - b.at,
  );
  body.append(...rows.map(({ row }) => row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  });
}

// Rows stay that hold every word.
function makeSearchable(table) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  input.type = "search";
  label.append("Search this table ", input);
  const rows = [...table.tBodies[0].rows];
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => {
      const cells = [...row.cells].map((cell) => cell.textContent);
      const text = cells.join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    });
    count.textContent = words.length
      ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} lines`
      : "";
  };
  input.addEventListener("input", filter);
  table.addEventListener("reveal", () => { input.value = ""; filter(); });
  table.closest(".scroll").before(label, count);
}

// A link may lead into what is folded or filtered away.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target.hidden) target.closest("table").dispatchEvent(new Event("reveal"));
  target.scrollIntoView();
}

function offerTheme() {
  const button = document.createElement("button");
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const show = (scheme) => {
    document.documentElement.style.colorScheme = scheme;
    button.textContent = scheme === "dark" ? "Light" : "Dark";
    button.onclick = () => show(scheme === "dark" ? "light" : "dark");
  };
  button.id = "theme";
  button.type = "button";
  show(dark ? "dark" : "light");
  document.querySelector("header").append(button);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("table.sortable").forEach((table) => {
  if (table.tBodies[0].rows.length >= 8) makeSearchable(table); // the others are seen at a glance
});
addEventListener("hashchange", reveal);
offerTheme();
reveal();
