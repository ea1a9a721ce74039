// Send the chosen videos to POST /api/predict one after the other. Several videos get a table whose rows open.

const QUICK = 2000; // milliseconds: after a faster upload, heat maps are asked for at once, with a second upload
const ATTEMPTS = 5; // if the server is busy
let rows = []; // { id, name, size, length, file, state, share, quick, answer, problem, maps, line }
let current = null; // the row that is open
let run = null; // an AbortController while videos are being answered
let looking = null; // another one while heat maps are being made
let ids = 0;

/** Upload a file and resolve to { status, answer }, or for a problem to { status, sentence, wait }. */
function post(file, pictures, signal, progress = () => {}) {
  return new Promise((resolve) => {
    const sent = new XMLHttpRequest(), body = new FormData();
    body.append("video", file, "video"); // the file's own name is not sent
    sent.open("POST", `api/predict?${pictures}=true`);
    for (const [name, value] of Object.entries(headers())) sent.setRequestHeader(name, value);
    sent.responseType = "json";
    sent.upload.onprogress = (event) => { if (event.lengthComputable) progress(event.loaded / event.total); };
    sent.upload.onload = () => progress(1);
    sent.onerror = sent.onabort = () => resolve({ status: "gone" });
    sent.onload = () => resolve(understood(sent.status, sent.response, sent.getResponseHeader("Retry-After")));
    signal.addEventListener("abort", () => sent.abort());
    sent.send(body);
  });
}

function understood(status, response, wait) {
  if (status !== 200) return { status, sentence: response?.error, wait: Number(wait) || 1 };
  return response?.predictions?.[0] ? { status, answer: response } : { status: "strange" };
}

function choose(files) {
  cancel();
  rows = files.map((file) => ({ id: ++ids, name: file.name, size: file.size, file, state: "waiting" }));
  current = rows.length === 1 ? rows[0] : null;
  work();
}

async function work() {
  stopWatching();
  run?.abort();
  const { signal } = run = new AbortController();
  notice = null;
  for (const row of rows.filter(({ state }) => state === "waiting")) {
    await answer(row, signal);
    if (signal.aborted) return;
  }
  run = null;
  show();
  if (rows.length === 1) opened(rows[0]);
}

async function answer(row, signal) {
  Object.assign(row, { state: "busy", share: 0, quick: true, problem: null });
  show();
  const reply = info && row.size > 1e6 * info.limits.upload_mb ? { status: "large" } : await patientPost(row, signal);
  if (signal.aborted) return;
  if (reply.status === 401) {
    row.state = "waiting";
    return askToken();
  }
  row.state = reply.answer ? "done" : "failed";
  if (reply.answer) {
    remembered(sessionStorage, "token", form.elements.token.value);
    Object.assign(row, { answer: reply.answer, maps: "ask" });
  } else {
    row.problem = { status: reply.status, sentence: reply.sentence?.replace(/^video: /, "") };
  }
  show();
}

async function patientPost(row, signal) {
  for (let attempt = 1; ; attempt++) {
    const began = performance.now();
    const reply = await post(row.file, "frames", signal, (share) => {
      row.share = share;
      row.quick = performance.now() - began < QUICK;
      if (!signal.aborted) show();
    });
    if (reply.status !== 503 || attempt === ATTEMPTS || signal.aborted) return reply;
    row.share = null;
    show();
    await new Promise((resolve) => setTimeout(resolve, 1000 * reply.wait));
    if (signal.aborted) return reply;
  }
}

async function askMaps(row) {
  looking?.abort();
  const { signal } = looking = new AbortController();
  row.maps = "busy";
  show();
  const { answer } = await post(row.file, "heat_maps", signal);
  row.maps = answer ? null : "ask";
  row.quick = false; // after a failure, only the button asks again
  if (answer) row.answer.heat_maps = answer.heat_maps ?? [];
  if (row === current) show();
}

function opened(row) {
  ($("result").hidden ? $("another") : $("result").querySelector("h2")).focus();
  if (row.quick && row.maps === "ask" && !run) askMaps(row);
}

/** Cancel what is under way; keep the answers. */
function cancel() {
  run?.abort();
  looking?.abort();
  run = looking = notice = null;
  for (const row of rows) if (["busy", "waiting"].includes(row.state)) row.state = "cancelled";
}

function showQueue(words) {
  $("queue").hidden = rows.length < 2;
  const beside = rows.length < 2 ? $("said") : $("queue"); // the progress stands above it
  if ($("progress").nextElementSibling !== beside) beside.before($("progress"));
  for (const id of ["save_all_csv", "save_all_json"]) $(id).disabled = !rows.some(({ state }) => ["done", "failed"].includes(state));
  if (rows.length < 2) return;
  for (const row of rows) fillLine(row.line ??= newLine(row), row, words);
  const body = $("queue").querySelector("tbody");
  if (body.firstChild !== rows[0].line) body.replaceChildren(...rows.map(({ line }) => line));
}

function newLine(row) {
  const line = element("tr", ""), head = element("th", "", { scope: "row" }), button = element("button", "", { type: "button", class: "open" });
  button.append(element("bdi", row.name));
  button.addEventListener("click", () => { current = row; notice = null; show(); opened(row); });
  head.append(button);
  line.append(head, element("td", ""), element("td", "", { class: "n" }));
  return line;
}

function fillLine(line, row, words) {
  const [head, what, share] = line.children, [names, shares] = row.answer ? named(row.answer.predictions, words) : [];
  head.firstChild.disabled = !["done", "failed"].includes(row.state);
  line.setAttribute("aria-current", String(row === current));
  what.colSpan = names ? 1 : 2; // there is no probability beside a reason
  share.hidden = !names;
  what.textContent = names ?? (row.problem ? `⚠ ${told(row.problem, words)[0]}` : words.states[row.state]);
  share.textContent = shares ?? "";
}

$("save_all_json").addEventListener("click", () => save("videos.json", "application/json", JSON.stringify(rows.map(entry), null, 2)));
$("save_all_csv").addEventListener("click", () => {
  const lines = rows.map(entry).flatMap(({ video, predictions, error }) => predictions
    ? predictions.map((found, i) => [video, i + 1, found.class_id, found.label, found.probability, ""])
    : [[video, "", "", "", "", error]]);
  saveCsv("videos.csv", [["video", "rank", "class_id", "label", "probability", "error"], ...lines]);
});
