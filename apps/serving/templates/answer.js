// Show one video: its player, its classes, the frames that the network saw, and the heat maps.

const $ = (id) => document.getElementById(id);
const player = document.querySelector("#clip video");
let playing = null; // the row that the player shows

const element = (name, text, attributes = {}) => {
  const made = Object.assign(document.createElement(name), { textContent: text });
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

/** Fill an element with the result of `make` if `key` has changed; otherwise leave it, so that it keeps the focus. */
function redraw(id, key, make) {
  const found = $(id), now = JSON.stringify(key);
  if (found.dataset.key === now) return;
  found.dataset.key = now;
  found.replaceChildren(...make());
}

function showClip(row, words) {
  if (row !== playing) {
    if (player.src) URL.revokeObjectURL(player.src);
    playing = row;
    if (row?.file) player.src = URL.createObjectURL(row.file); else player.removeAttribute("src");
  }
  player.hidden = !row?.file || Boolean(row.unplayable);
  $("clip").hidden = !row || (row.problem && player.hidden);
  if (!row) return;
  $("no_player").textContent = row.file ? words.no_player : words.no_file;
  $("no_player").hidden = !player.hidden;
  $("name").textContent = row.name;
  $("measures").textContent = ["", row.length && clock(row.length, row.length < 1 ? 2 : 0), bytes(row.size)].filter((text) => text !== undefined).join(" · ");
}

player.addEventListener("loadedmetadata", () => {
  if (!playing) return;
  if (Number.isFinite(player.duration)) playing.length = player.duration; // recordings may lack it
  playing.unplayable = !player.videoWidth; // only its sound can be played
  show();
});
player.addEventListener("error", () => { if (playing?.file) { playing.unplayable = true; show(); } });

function showAnswer(row, words) {
  const barred = withBars(row.answer.predictions);
  $("result").querySelector("h2").textContent = titled(row.answer.predictions, words);
  $("classes").previousElementSibling.hidden = !barred.length;
  showBars($("classes"), barred);
  showPictures(row, words);
}

/** Return the names and probabilities of an answer's class, or of all its classes if a video may have many. */
function named(predictions, words) {
  const found = many() ? predictions : predictions.slice(0, 1);
  if (found[0].class_id < 0) return [words.none, ""];
  return [found.map(({ label }) => readable(label)).join(" + "), found.map(({ probability }) => percent(probability)).join(" · ")];
}

/** Return an answer's title. With many classes, the bars show the probabilities. */
function titled(predictions, words) {
  const [names, shares] = named(predictions, words);
  return many() ? names : `${names} · ${shares}`;
}

const withBars = (predictions) => many() ? predictions.filter(({ class_id }) => class_id >= 0) : predictions.slice(1);

function showBars(list, predictions) {
  list.replaceChildren(...predictions.map((found) => {
    const bar = element("div", "", { class: "bar", role: "listitem" });
    bar.append(element("bdi", readable(found.label)), element("span", percent(found.probability), { class: "value" }));
    bar.style.setProperty("--share", `${100 * found.probability}%`);
    return bar;
  }));
}

function showPictures(row, words) {
  const { frames = [], heat_maps = [] } = row.answer;
  // A frame that two segments chose is shown once.
  const chosen = [...frames.keys()].filter((i) => frames.indexOf(frames[i]) === i);
  const looks = Number(/^(\d+) segment/.exec(info?.protocol)?.[1] ?? frames.length);
  const times = row.length ? chosen.map((i, k) => row.length *
    (chosen.length < frames.length ? (k + 0.5) / chosen.length : place(i, frames.length, looks))) : []; // if frames repeat, the video has only these
  const playable = !player.hidden;
  redraw("frames", [row.id, language, looks, times, playable], () => {
    if (!chosen.length) return [];
    const title = chosen.length === frames.length ? words.frames(chosen.length, looks)
      : looks === frames.length ? words.same(chosen.length, looks) : words.same_some(chosen.length);
    return strip("frames", title, chosen.map((i) => frames[i]), words, times, playable);
  });
  redraw("heat_maps", [row.id, language, heat_maps.length, row.maps], () => {
    if (heat_maps.length) {
      const scale = element("p", "", { class: "scale note" });
      scale.append(element("span", words.little), element("i", ""), element("span", words.much));
      return [...strip("heat_maps", words.heat_maps, chosen.map((i) => heat_maps[i]), words), scale];
    }
    if (row.maps === "busy") return [element("p", words.heat_maps_busy, { class: "note", role: "status" })];
    if (row.maps !== "ask" || !row.file) return [];
    const button = element("button", words.heat_maps_ask, { type: "button", class: "button" });
    button.addEventListener("click", () => askMaps(row));
    return [button];
  });
}

/** Return the place, 0 to 1, of the i-th of n pictures in the video, by the protocol's sampling of `looks` segments. */
function place(i, n, looks) {
  const segment = n > 1 ? Math.round(i * (looks - 1) / (n - 1)) : 0;
  return /sampling linspace/.test(info?.protocol) ? segment / Math.max(1, looks - 1) : (segment + 0.5) / looks;
}

function strip(kind, title, pictures, words, times = [], playable = false) {
  const heading = element("h3", title, { id: `${kind}_title` });
  const made = element("div", "", { class: "strip", role: "group", "aria-labelledby": heading.id });
  made.style.setProperty("--columns", Math.min(pictures.length, 3));
  made.append(...pictures.map((src, i) => {
    const image = element("img", "", { src, alt: words.frame(i + 1, pictures.length) });
    if (times[i] === undefined) return image;
    const time = clock(times[i], playing.length < 1 ? 2 : playing.length < 60 ? 1 : 0);
    const look = element(playable ? "button" : "div", "", playable ? { type: "button", class: "look", title: words.from(time) } : { class: "look" });
    look.append(image, element("span", time));
    if (playable) look.addEventListener("click", () => {
      player.currentTime = times[i];
      player.play().catch(() => {}); // if the browser wants a click on the player, it still shows the frame
    });
    return look;
  }));
  return [heading, made];
}

// Copy and save an answer

const entry = ({ name, answer, problem }) =>
  answer ? { video: name, predictions: answer.predictions } : { video: name, error: problem?.sentence ?? (problem ? told(problem, WORDS[language])[0] : "") };

async function copy(text) {
  try { await navigator.clipboard.writeText(text); } catch { // on pages of http:// only this way works
    const field = element("textarea", text, { class: "unseen" });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    $("copy").focus();
  }
  $("copy").textContent = $("said").textContent = WORDS[language].copied;
  setTimeout(() => { $("copy").textContent = WORDS[language].copy; }, 2000);
}

$("copy").addEventListener("click", () => {
  const lines = current.answer.predictions.map((found) => `${readable(found.label)}\t${percent(found.probability)}`);
  copy([current.name, ...lines].join("\n"));
});
$("save_json").addEventListener("click", () => save(`${current.name}.json`, "application/json", JSON.stringify(entry(current), null, 2)));
