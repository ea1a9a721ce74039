// A table of many videos. Its rows are JSON in the page (results/pages/video_rows.py). All of them are sorted and
// filtered; more are drawn when the reader scrolls.

const CHUNK = 60;
const say = (english, chinese) => (language === "zh" ? chinese : english);
const words = new Intl.Collator(undefined, { numeric: true });
const made = (tag, text, name) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
};

/** Return an element with the text, which may break after each _ and /. */
const breaking = (tag, text) => {
  const element = made(tag);
  element.append(...text.split(/(?<=[_/])/).flatMap((part) => [part, made("wbr")]));
  return element;
};

class Videos {
  constructor(box) {
    this.box = box;
    this.fields = [...box.querySelectorAll("[data-filter]")];
    this.heads = [...box.querySelectorAll("th[data-column]")];
    this.body = box.querySelector("tbody");
    const { classes, folders, rows } = JSON.parse(box.querySelector("script").textContent);
    Object.assign(this, { classes, folders, rows });
    this.paths = rows.name.map((name, row) => folders[rows.folder[row]][0] + name);
    this.sought = this.paths.map((path) => path.toLowerCase());
    this.kinds = Object.fromEntries(this.heads.map((head) => [head.dataset.column, head.dataset.kind]));
    this.cards = [...document.querySelectorAll("[data-position]")];
    this.byPosition = new Map(this.cards.map((card) => [Number(card.dataset.position), card]));
    const sorted = this.heads.find((head) => head.ariaSort !== "none");
    this.sort = [sorted.dataset.column, sorted.ariaSort === "ascending" ? 1 : -1];
    for (const field of this.fields) field.addEventListener("input", () => this.find());
    for (const head of this.heads) head.firstElementChild.addEventListener("click", () => this.sortBy(head));
    box.querySelector(".all").addEventListener("click", () => this.pick({}));
    box.querySelector(".save").addEventListener("click", () => this.save());
    this.scroll = box.querySelector(".scroll");
    this.scroll.addEventListener("scroll", () => {
      if (this.scroll.scrollTop + this.scroll.clientHeight > this.scroll.scrollHeight - 600) this.draw();
    }, { passive: true });
    document.addEventListener("language", () => this.find());
    document.addEventListener("pick", (event) => this.pick(event.detail, true));
  }

  /** Set the filters to `picked`, a value or [least, most] by column, and clear all others. */
  pick(picked, show = false) {
    for (const field of this.fields) {
      const value = picked[field.dataset.filter];
      field.value = Array.isArray(value) ? value[field.dataset.end === "most" ? 1 : 0] : value ?? "";
    }
    this.find();
    if (show) this.box.scrollIntoView({ behavior: "smooth", block: "start" });
  }

  /** Find the rows that pass every filter, sort them and draw the first. */
  find() {
    let rows = this.paths.map((_, row) => row);
    for (const field of this.fields.filter((one) => one.value.trim() !== "")) {
      const column = this.rows[field.dataset.filter], number = Number(field.value), text = field.value.trim().toLowerCase();
      if (field.type === "search") rows = rows.filter((row) => this.sought[row].includes(text));
      else if (field.dataset.end === "least") rows = rows.filter((row) => column[row] >= 1e4 * number);
      else if (field.dataset.end === "most") rows = rows.filter((row) => column[row] < 1e4 * number || number >= 100);
      else rows = rows.filter((row) => has(column[row], number));
    }
    const [name, sign] = this.sort, column = this.rows[name];
    const kind = this.kinds[name], order = this.order ??= words_of(this.classes);
    const compare = kind === "video" ? (a, b) => words.compare(this.paths[a], this.paths[b])
      : kind === "class" ? (a, b) => order[column[a]] - order[column[b]]
      : kind === "classes" ? (a, b) => inOrder(column[a], column[b], order) : (a, b) => column[a] - column[b];
    this.found = rows.sort((a, b) => sign * compare(a, b) || a - b);
    const [shown, all] = [rows.length, this.paths.length].map((number) => number.toLocaleString("en"));
    this.box.querySelector("output").textContent = say(`${shown} of ${all} videos`, `${all} 个视频中的 ${shown} 个`);
    const seen = new Set(rows.map((row) => this.rows.position[row]));
    const whole = rows.length === this.paths.length;
    for (const card of this.cards) card.hidden = !whole && !seen.has(Number(card.dataset.position));
    for (const part of document.querySelectorAll(".of-cards")) part.hidden = this.cards.every((card) => card.hidden);
    this.body.replaceChildren();
    this.scroll.scrollTop = 0;
    this.draw();
  }

  sortBy(head) {
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    for (const other of this.heads) other.ariaSort = other === head ? (sign > 0 ? "ascending" : "descending") : "none";
    this.sort = [head.dataset.column, sign];
    this.find();
  }

  draw() {
    const from = this.body.rows.length;
    this.body.append(...this.found.slice(from, from + CHUNK).map((row) => this.line(row)));
  }

  line(row) {
    const line = made("tr");
    for (const head of this.heads) line.append(this.cell(row, head.dataset.column, head.dataset.kind));
    return line;
  }

  /** Return the elements for a class: its colour, if it has one, and its name. */
  named(place) {
    const [name, colour] = this.classes[place];
    return [...(colour === null ? [] : [made("i", undefined, `c${colour}`)]), breaking("bdi", name)];
  }

  cell(row, column, kind) {
    const value = this.rows[column][row];
    if (kind === "share") {
      const cell = made("td", (value / 1e4).toFixed(1), "n share amount");
      cell.style.setProperty("--share", `${value / 1e4}%`);
      return cell;
    }
    if (kind === "number") return made("td", value, "n");
    const cell = made("td", undefined, kind === "video" ? "file" : kind === "classes" ? "several" : "");
    if (kind === "class") {
      cell.append(...this.named(value));
      return cell;
    }
    if (kind === "classes") {
      for (const [place, share] of value) {
        const one = made("div");
        one.append(...this.named(place), ...(share === undefined ? [] : [" ", made("small", (share / 1e4).toFixed(1))]));
        cell.append(one);
      }
      return cell;
    }
    const [folder, address] = this.folders[this.rows.folder[row]], card = this.byPosition.get(this.rows.position[row]);
    const picture = card?.querySelector(".strip img:nth-child(2), .strip img");
    const jump = picture && made("a", undefined, "thumbnail");
    if (picture) {
      const small = made("img");
      jump.setAttribute("href", `#${card.id}`);
      small.setAttribute("src", picture.getAttribute("src"));
      small.alt = say("its frames", "该视频的帧");
      jump.append(small);
    }
    const name = made(address ? "a" : "span"), beside = made("div"), words = made("div");
    if (address) name.setAttribute("href", address + encodeURIComponent(this.rows.name[row]));
    name.append(breaking("bdi", this.rows.name[row]));
    words.append(name);
    if (this.folders.length > 1) words.append(breaking("small", folder));
    beside.append(...(jump ? [jump, words] : [words]));
    cell.append(beside);
    return cell;
  }

  /** Save the rows that pass the filters as CSV, in their order. */
  save() {
    const name = (place) => this.classes[place][0];
    const kinds = {
      video: (_, row) => this.paths[row], class: name, share: (value) => value / 1e6, number: (value) => value,
      classes: (value) => value.map(([place, share]) => (share === undefined ? name(place) : `${name(place)} ${share / 1e6}`)).join("; "),
    };
    const value = (row, { column, kind }) => kinds[kind](this.rows[column]?.[row], row);
    const heads = this.heads.map((head) => head.dataset);
    saveCsv("videos.csv", [heads.map((head) => head.csv), ...this.found.map((row) => heads.map((head) => value(row, head)))]);
  }
}

/** Return whether a value is this number, or is a list of classes with this one. */
const has = (value, number) => (Array.isArray(value) ? value.some(([place]) => place === number) : value === number);

/** Compare two lists of classes: by their number, then by the classes' names. */
function inOrder(a, b, order) {
  const names = (found) => found.map(([place]) => order[place]);
  const [first, second] = [names(a), names(b)], at = first.findIndex((place, i) => place !== second[i]);
  return a.length - b.length || (at < 0 ? 0 : first[at] - second[at]);
}

/** Return each class's place in the order of names. */
function words_of(classes) {
  const places = [];
  classes.map((_, place) => place).sort((a, b) => words.compare(classes[a][0], classes[b][0])).forEach((place, order) => { places[place] = order; });
  return places;
}

for (const box of document.querySelectorAll(".videos")) new Videos(box);
for (const item of document.querySelectorAll("[data-pick]")) item.addEventListener("click", () => {
  for (const other of document.querySelectorAll("[data-pick]")) other.classList.toggle("picked", other === item);
  document.dispatchEvent(new CustomEvent("pick", { detail: JSON.parse(item.dataset.pick) }));
});
