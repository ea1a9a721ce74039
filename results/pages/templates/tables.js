// Sort a table by the column whose name is clicked; a search field hides the rows without its text.

const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
const words = new Intl.Collator(undefined, { numeric: true });

const size = (text) => { const number = parseFloat(text.replaceAll(",", "")); return Number.isNaN(number) ? -1 : number; };
const byNumber = (a, b) => size(a) - size(b);

for (const table of document.querySelectorAll("table.sortable:not(.videos *)")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => header.querySelector("button").addEventListener("click", () => {
    const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headers.forEach((other) => other.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const compare = header.classList.contains("n") ? byNumber : words.compare;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => sign * compare(value(a, column), value(b, column)));
    table.tBodies[0].append(...rows);
  }));
}

const plain = (text) => text.replaceAll("\u00a0", " ").replaceAll("\u2011", "-").trim(); // without signs against line breaks

for (const button of document.querySelectorAll("[data-save]")) {
  const table = document.getElementById(button.dataset.save);
  button.hidden = false; // the button needs this script
  button.addEventListener("click", () => saveCsv(`${table.id}.csv`,
    [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map((cell) => cell.dataset.value ?? plain(cell.innerText)))));
}

for (const field of document.querySelectorAll("input[data-search]")) {
  const target = document.getElementById(field.dataset.search);
  const items = [...(target.tBodies ? target.tBodies[0].rows : target.children)];
  const count = field.closest(".search").querySelector("output");
  field.closest(".search").hidden = false; // the field needs this script
  const show = () => {
    const text = field.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(text);
    const found = items.filter((item) => !item.hidden).length, all = items.length;
    count.textContent = language === "zh" ? `共 ${all} 个，显示 ${found} 个` : `${found} of ${all}`;
  };
  field.addEventListener("input", show);
  document.addEventListener("language", show);
}
