// Save a text as a file, or a table as CSV. The pages of results and of serve.py use this.

function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type })), link = document.createElement("a");
  Object.assign(link, { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // by then the browser has read it
}

function saveCsv(name, lines) {
  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell);
  const text = lines.map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
  save(name, "text/csv", `\ufeff${text}`); // Excel recognises UTF-8 by the first character
}
