// The camera: send pieces of a few seconds to the same endpoint, each as a file, and show the answer beside the picture.

const PIECE = 3000; // milliseconds
let watching = null; // { stream, recorder, busy, missed }

async function watch() {
  if (!navigator.mediaDevices) return fail((words) => [words.insecure, words.next.operator]);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 } } });
  } catch { return fail((words) => [words.no_camera, words.next.camera]); }
  stopWatching();
  cancel();
  [rows, current] = [[], null];
  watching = { stream, busy: false, missed: 0 };
  document.querySelector("#camera video").srcObject = stream;
  stream.getVideoTracks()[0].addEventListener("ended", stopWatching); // the camera was unplugged
  $("seen").textContent = WORDS[language].waiting;
  $("sure").textContent = "";
  $("live").replaceChildren();
  $("missed").textContent = "";
  $("camera").hidden = false;
  show();
  $("stop").focus();
  record(watching);
}

function record(mine) {
  const recorder = mine.recorder = new MediaRecorder(mine.stream, { videoBitsPerSecond: 1_000_000 });
  recorder.ondataavailable = ({ data }) => {
    if (mine !== watching) return;
    record(mine);
    if (mine.busy) $("missed").textContent = WORDS[language].missed(++mine.missed);
    else askAbout(mine, data);
  };
  recorder.start();
  setTimeout(() => { if (recorder.state === "recording") recorder.stop(); }, PIECE);
}

async function askAbout(mine, piece) {
  mine.busy = true;
  const body = new FormData();
  body.append("video", piece, "camera");
  try {
    const response = await fetch("api/predict", { method: "POST", body, headers: headers() });
    const reply = understood(response.status, await response.json().catch(() => null));
    if (mine !== watching) return;
    if (reply.status === 401) { stopWatching(); return askToken(); }
    if (reply.answer) {
      const [names, shares] = named(reply.answer.predictions, spoken());
      $("seen").textContent = names;
      $("sure").textContent = many() ? "" : ` · ${shares}`;
      showBars($("live"), withBars(reply.answer.predictions));
    } else if (reply.status !== 503) { // 503: the server is busy, and may not be for the next piece
      stopWatching();
      fail((words) => told(reply, words));
    }
  } catch {
    if (mine === watching) { stopWatching(); fail((words) => told({ status: "gone" }, words)); }
  } finally { mine.busy = false; }
}

function stopWatching() {
  if (!watching) return;
  for (const track of watching.stream.getTracks()) track.stop();
  watching = null;
  document.querySelector("#camera video").srcObject = null;
  $("camera").hidden = true;
  show();
  $("watch").focus();
}

$("watch").addEventListener("click", watch);
$("stop").addEventListener("click", stopWatching);
addEventListener("pagehide", stopWatching);
