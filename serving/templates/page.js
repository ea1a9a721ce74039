"use strict";
// A video goes to POST /api/predict; what comes back is shown. All that people read is in WORDS.

const WORDS = {
  en: {
    title: "What happens in a video?", choose: "Choose a video", or_drop: "or drop one anywhere on this page",
    lead: "Give it a video: it looks at a few frames and names what it most likely shows.",
    limits: (mb, seconds) => `up to ${mb} MB and ${seconds} s`,
    token: "Token", cancel: "Cancel", again: "Try again", classes: "The likeliest classes",
    about: "About the model and the limits", docs: "For programs: POST /api/predict",
    local: "Your video goes to this server alone, which removes it as soon as it is answered.",
    sending: (share) => `Uploading: ${share}`, computing: "Looking at the video …",
    frames: (number) => `${number} frames that the network saw`, frame: (i, n) => `frame ${i} of ${n}`,
    heat_maps: () => "Where in them it sees the likeliest class",
    facts: { model: "model", protocol: "protocol", arithmetic: "arithmetic", weights: "weights (SHA-256)", num_classes: "classes" },
    large: (mb) => `This file is larger than ${mb} MB, the most that this server takes.`,
    several: "One video at a time, please.", folder: "This is no file.",
    gone: "The server cannot be reached, or the connection broke.",
    secret: "This server asks for a token: type it above.",
    // A file's name keeps its letters.
    problem: (status, sentence) => `${status === 422 ? sentence : sentence[0].toUpperCase() + sentence.slice(1)}.`,
  },
  zh: {
    title: "视频里发生了什么？", choose: "选择视频", or_drop: "或将视频拖放到本页任意位置",
    lead: "上传一段视频：模型查看其中几帧，给出最可能的类别。",
    limits: (mb, seconds) => `最大 ${mb} MB，最长 ${seconds} 秒`,
    token: "令牌", cancel: "取消", again: "重试", classes: "最可能的类别",
    about: "模型与限制", docs: "供程序调用：POST /api/predict",
    local: "视频只发送到本服务器，得到结果后立即删除。",
    sending: (share) => `正在上传：${share}`, computing: "正在分析视频……",
    frames: (number) => `模型看到的 ${number} 帧`, frame: (i, n) => `第 ${i} 帧，共 ${n} 帧`,
    heat_maps: () => "模型判断的依据区域",
    facts: { model: "模型", protocol: "测试协议", arithmetic: "计算方式", weights: "权重（SHA-256）", num_classes: "类别数" },
    large: (mb) => `文件超过 ${mb} MB，即本服务器的上限。`,
    several: "请一次只选择一个视频。", folder: "这不是文件。",
    gone: "无法连接服务器，或连接已中断。",
    secret: "本服务器需要令牌：请在上方输入。",
    problem: (status, sentence) => PROBLEMS[status] ? PROBLEMS[status](sentence) : `服务器出错（${status}）：${sentence}。`,
  },
};
// In Chinese by status; why a video cannot be read by what the reader says most often.
const REASONS = [
  [/not a readable video file/, () => "不是可读取的视频文件"], [/the file is empty/, () => "文件为空"],
  [/no video stream/, () => "其中没有视频流"], [/it lasts longer than ([\d.e+]+) s/, (found) => `时长超过 ${found[1]} 秒`],
  [/truncated/, () => "文件不完整"], [/damaged/, () => "文件已损坏"], [/given up after/, () => "读取时间过长"],
];
const reason = (sentence) => {
  for (const [pattern, words] of REASONS) { const found = sentence.match(pattern); if (found) return words(found); }
  return sentence;
};
const PROBLEMS = {
  400: () => "上传不完整或已损坏。", 401: () => "令牌缺失或错误。", 403: () => "不允许其他网站访问本服务器。",
  408: () => "上传太慢。", 413: () => "文件太大。", 422: (sentence) => `无法读取这个视频：${reason(sentence)}。`,
  500: () => "服务器内部出错。", 503: () => "等待的视频太多，请稍后再试。",
};

const $ = (id) => document.getElementById(id);
const form = $("ask");
let language = "en", info = null, file = null, request = null;
let state = { kind: "idle" }; // what is shown, so that it can be shown again in the other language

const remembered = (store, name, value) => { // browsers may refuse to keep anything
  try { if (value === undefined) return store.getItem(name); store.setItem(name, value); } catch { return null; }
};
const element = (name, text, attributes = {}) => {
  const made = Object.assign(document.createElement(name), { textContent: text });
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = { en: "en", zh: "zh-CN" }[language];
  const words = WORDS[language];
  document.title = words.title;
  for (const item of document.querySelectorAll("[data-word]")) item.textContent = words[item.dataset.word];
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  if (info) {
    $("model").textContent = info.model;
    $("limits").textContent = words.limits(info.limits.upload_mb, info.limits.seconds);
    const rows = Object.entries(words.facts).flatMap(([key, word]) => [element("dt", word), element("dd", info[key])]);
    $("facts").replaceChildren(...rows);
  }
  show(state);
}

function show(next) {
  const words = WORDS[language];
  state = next;
  $("progress").hidden = state.kind !== "busy";
  $("problem").hidden = state.kind !== "problem";
  $("result").hidden = state.kind !== "result";
  if (state.kind === "busy") {
    const bar = document.querySelector("progress");
    if (state.share < 1) bar.value = 100 * state.share; else bar.removeAttribute("value"); // nobody knows how long
    $("doing").textContent = state.share < 1 ? words.sending(percent(state.share, 0)) : words.computing;
  } else if (state.kind === "problem") {
    $("problem").firstElementChild.textContent = state.words(words);
    $("again").hidden = !file || state.final; // what cannot be read now cannot be read a second later
  } else if (state.kind === "result") {
    showAnswer(state.answer, words);
  }
}

function showAnswer(answer, words) {
  const [best] = answer.predictions;
  $("result").querySelector("h2").textContent = `${best.label} · ${percent(best.probability, 1)}`;
  $("name").textContent = answer.video;
  for (const kind of ["frames", "heat_maps"]) showStrip(kind, answer[kind] ?? [], words);
  $("classes").replaceChildren(...answer.predictions.map((found) => {
    const bar = element("div", "", { class: "bar", role: "listitem" });
    bar.append(element("bdi", found.label), element("span", percent(found.probability, 1), { class: "value" }));
    bar.style.setProperty("--share", `${100 * found.probability}%`);
    return bar;
  }));
}

function showStrip(kind, pictures, words) {
  const title = element("h3", words[kind](pictures.length), { id: `${kind}_title` });
  const strip = element("div", "", { class: "strip", role: "group", "aria-labelledby": title.id });
  strip.style.setProperty("--columns", Math.min(pictures.length, 3));
  strip.append(...pictures.map((src, i) => element("img", "", { src, alt: words.frame(i + 1, pictures.length) })));
  $(kind).replaceChildren(...(pictures.length ? [title, strip] : []));
}

const percent = (share, digits) =>
  new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(share);
const fail = (words, final = true) => show({ kind: "problem", words, final });
const headers = () => {
  const token = form.elements.token.value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
};

function ask(chosen) {
  request?.abort();
  file = chosen;
  if (info && file.size > 1e6 * info.limits.upload_mb) return fail((words) => words.large(info.limits.upload_mb));
  const sent = request = new XMLHttpRequest();
  const body = new FormData();
  body.append("video", file);
  sent.open("POST", "/api/predict?frames=true&heat_maps=true");
  for (const [name, value] of Object.entries(headers())) sent.setRequestHeader(name, value);
  sent.responseType = "json";
  sent.upload.onprogress = (event) => { if (sent === request && event.lengthComputable) show({ kind: "busy", share: event.loaded / event.total }); };
  sent.upload.onload = () => { if (sent === request) show({ kind: "busy", share: 1 }); };
  sent.onerror = () => { if (sent === request) fail((words) => words.gone, false); };
  sent.onload = () => {
    if (sent !== request) return;
    if (sent.status === 200) {
      remembered(sessionStorage, "token", form.elements.token.value);
      show({ kind: "result", answer: sent.response });
      $("result").querySelector("h2").focus();
    } else if (sent.status === 401) {
      askToken();
    } else {
      const sentence = sent.response?.error ?? sent.statusText;
      fail((words) => words.problem(sent.status, sentence), ![408, 500, 503].includes(sent.status));
    }
  };
  show({ kind: "busy", share: 0 });
  sent.send(body);
}

function askToken() {
  $("secret").hidden = false;
  fail((words) => words.secret);
  form.elements.token.focus();
}

async function learn() {
  try {
    const response = await fetch("/api/info", { headers: headers() });
    if (response.status === 401) { $("secret").hidden = false; return; }
    if (response.ok) info = await response.json();
  } catch { return fail((words) => words.gone); }
  speak(language);
}

form.addEventListener("submit", (event) => { event.preventDefault(); learn(); if (file) ask(file); });
form.elements.token.addEventListener("change", learn);
form.elements.video.addEventListener("change", (event) => {
  if (event.target.files.length) ask(event.target.files[0]);
  event.target.value = ""; // the same file can be chosen again
});
$("cancel").addEventListener("click", () => {
  request?.abort();
  request = null;
  show({ kind: "idle" });
  form.elements.video.focus();
});
$("again").addEventListener("click", () => ask(file));
for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => {
  remembered(localStorage, "language", button.dataset.language);
  speak(button.dataset.language);
});

let depth = 0; // of the elements that what is dragged has entered
const over = (change) => { depth = Math.max(0, change); document.body.classList.toggle("over", depth > 0); };
addEventListener("dragenter", (event) => { event.preventDefault(); over(depth + 1); });
addEventListener("dragleave", () => over(depth - 1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over(0);
  const { files, items } = event.dataTransfer;
  if (files.length > 1) return fail((words) => words.several);
  if (!files.length || items[0]?.webkitGetAsEntry?.()?.isDirectory) return fail((words) => words.folder);
  ask(files[0]);
});

form.elements.token.value = remembered(sessionStorage, "token") ?? "";
speak(remembered(localStorage, "language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"));
learn();
