// Show the state of the page in the chosen language, and react to the reader.

const form = $("ask");
const files = form.elements.video;
let info = null;
let notice = null; // a problem of the page itself: a function from words to [sentence, next step]

/** Return whether a video may have many classes. */
const many = () => info?.labels === "multi";
const spoken = () => ({ ...WORDS[language], ...(many() && WORDS[language].many) });

function speak() {
  const words = spoken();
  document.title = words.title;
  for (const item of document.querySelectorAll("[data-word]")) item.textContent = words[item.dataset.word];
  if (info) showInfo(words);
  document.querySelector("#camera video").setAttribute("aria-label", words.picture);
  show();
}

function showInfo(words) {
  const size = bytes(1e6 * info.limits.upload_mb), length = duration(info.limits.seconds);
  $("model").textContent = info.model;
  $("limits").textContent = words.limits(size, length);
  const facts = (id, names, values) =>
    $(id).replaceChildren(...Object.entries(names).flatMap(([key, word]) => [element("dt", word), element("dd", values[key])]));
  facts("facts", words.facts, { ...info, size, length, num_classes: words.num_classes(info.num_classes) });
  facts("technical", words.technical, info);
  if (info.classes) {
    const names = element("details", ""), count = $("facts").children[3];
    names.append(element("summary", count.textContent), element("p", info.classes.map(readable).join(", ")));
    count.replaceChildren(names);
  }
}

function show() {
  const words = spoken();
  const busy = rows.find(({ state }) => state === "busy");
  const problem = notice ? notice(words) : current?.problem && told(current.problem, words);
  document.body.classList.toggle("answered", rows.length > 0 || watching !== null);
  $("drop").hidden = rows.length > 0 || watching !== null;
  $("another").hidden = !rows.length || run !== null;
  $("watch").hidden = watching !== null || run !== null;
  showQueue(words);
  showClip(current, words);
  showProgress(busy, words);
  $("problem").hidden = !problem;
  if (problem) [$("what").textContent, $("next").textContent] = problem;
  $("whose").textContent = notice ? "" : current?.name ?? "";
  $("again").hidden = notice || !current?.file || !["gone", 408, 500, 502, 503, 504].includes(current.problem?.status); // an unreadable video stays unreadable
  for (const id of ["result", "copy", "save_json", "pictures"]) $(id).hidden = !current?.answer;
  if (current?.answer) showAnswer(current, words);
}

function showProgress(busy, words) {
  $("progress").hidden = !busy;
  if (!busy) return;
  const bar = document.querySelector("progress");
  const doing = (share) => share === null ? words.busy : share < 1 ? words.sending(percent(share, 0)) : words.computing;
  if (busy.share < 1 && busy.share !== null) bar.value = 100 * busy.share; else bar.removeAttribute("value"); // the remaining time is unknown
  const answered = rows.filter(({ answer, problem }) => answer || problem).length;
  const several = rows.length > 1;
  $("doing").textContent = `${several ? `${words.of_several(rows.indexOf(busy) + 1, rows.length, busy.name)} · ` : ""}${doing(busy.share)}`;
  // Screen readers hear quarters only.
  const said = several ? words.said(answered, rows.length) : doing(busy.share && Math.floor(4 * busy.share) / 4);
  if ($("said").textContent !== said) $("said").textContent = said;
}

function fail(made) {
  notice = made;
  show();
}
const headers = () => {
  const token = form.elements.token.value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
};

function askToken() {
  run?.abort();
  run = null;
  const status = headers().Authorization ? 401 : "secret";
  $("secret").hidden = false;
  fail((words) => told({ status }, words));
  form.elements.token.focus();
}

async function learn() {
  try {
    const response = await fetch("api/info", { headers: headers() });
    if (response.status === 401) { if (headers().Authorization) askToken(); else $("secret").hidden = false; return; }
    const found = response.ok ? await response.json().catch(() => null) : null;
    if (response.ok && !found?.limits) return fail((words) => told({ status: "strange" }, words));
    info = found;
  } catch { return fail((words) => told({ status: "gone" }, words)); }
  if (info) notice = null;
  speak();
}

/** Keep the answers for this tab, for when the reader comes back from another page. */
function keep() {
  const answered = rows.filter(({ answer, problem }) => answer || problem);
  const kept = (pictures) => JSON.stringify({
    open: answered.indexOf(current),
    rows: answered.map(({ name, size, length, answer, problem }) =>
      ({ name, size, length, problem, answer: answer && { predictions: answer.predictions, ...(pictures && answer) } })),
  });
  if (remembered(sessionStorage, "answers", kept(true)) === null) remembered(sessionStorage, "answers", kept(false)); // the browser's store is small
}

function restore() {
  const kept = JSON.parse(remembered(sessionStorage, "answers") ?? '{"open": -1, "rows": []}');
  rows = kept.rows.map((row) => ({ ...row, id: ++ids, state: row.answer ? "done" : "failed" }));
  current = rows[kept.open] ?? null;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  await learn();
  if (rows.some(({ state }) => state === "waiting")) work();
});
files.addEventListener("change", () => {
  if (files.files.length) choose([...files.files]);
  files.value = ""; // the same file can be chosen again
});
$("drop").addEventListener("click", () => files.click());
$("another").addEventListener("click", () => files.click());
$("cancel").addEventListener("click", () => {
  cancel();
  if (rows.length === 1) [rows, current] = [[], null];
  show();
  (rows.length ? $("another") : $("choose")).focus();
});
$("again").addEventListener("click", () => {
  current.state = "waiting";
  work();
});
let depth = 0; // how many nested elements the dragged file is over
const over = (change) => { depth = Math.max(0, change); document.body.classList.toggle("over", depth > 0); };
addEventListener("dragenter", (event) => { event.preventDefault(); over(depth + 1); });
addEventListener("dragleave", () => over(depth - 1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over(0);
  const dropped = event.dataTransfer;
  if (!dropped.files.length || [...dropped.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory))
    return fail((words) => [words.folder, words.next.video]);
  choose([...dropped.files]);
});
addEventListener("pagehide", keep);

form.elements.token.value = remembered(sessionStorage, "token") ?? "";
restore();
chooseLanguage(speak);
learn();
