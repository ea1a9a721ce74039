// A video's timeline: show the values under the pointer; a click jumps to that time in the video.

const clock = (seconds) => {
  const whole = Math.round(seconds), two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
};

const video = document.getElementById("video");
video?.addEventListener("error", () => {
  video.hidden = true;
  document.getElementById("no_player").hidden = false;
});

for (const part of document.querySelectorAll(".long")) {
  const { names, colours, duration, columns } = JSON.parse(part.dataset.seen);
  const plot = part.querySelector(".plot"), cursor = part.querySelector(".cursor"), said = part.querySelector(".said");
  let chosen = 0, pointing = false;

  const columnAt = (time) => { // the last one that has begun
    let [low, high] = [0, columns.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (columns[middle][0] <= time) low = middle; else high = middle - 1;
    }
    return low;
  };
  const show = (time) => {
    const [start, end, shares] = columns[columnAt(time)];
    cursor.style.display = "block";
    cursor.style.left = `${Math.min(100, 100 * time / duration)}%`;
    const items = [document.createElement("strong")];
    items[0].textContent = time > end ? clock(time) : `${clock(start)} – ${clock(end)}`; // in a gap between windows there are no values
    if (time <= end) shares.forEach((share, i) => {
      if (share === null) return;
      const item = document.createElement("span"), dot = document.createElement("i"), name = document.createElement("bdi");
      dot.className = `dot c${colours[i]}`;
      name.textContent = names[i];
      item.append(dot, name, ` ${(share / 10).toFixed(1)}%`);
      items.push(item);
    });
    said.replaceChildren(...items);
    plot.setAttribute("aria-valuenow", String(Math.round(time)));
    plot.setAttribute("aria-valuetext", said.textContent);
  };
  const go = (time) => {
    chosen = Math.max(0, Math.min(duration, time));
    if (video && !video.hidden) video.currentTime = chosen;
    show(chosen);
  };
  const under = (event) => {
    const box = plot.getBoundingClientRect();
    return duration * Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  };
  plot.addEventListener("pointermove", (event) => { pointing = true; show(under(event)); });
  plot.addEventListener("pointerleave", () => { pointing = false; show(chosen); });
  plot.addEventListener("click", (event) => go(under(event)));
  plot.addEventListener("keydown", (event) => {
    const at = columnAt(chosen), last = columns.length - 1;
    const to = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(columns[to][0]);
  });
  video?.addEventListener("timeupdate", () => { chosen = video.currentTime; if (!pointing) show(chosen); });
  for (const button of document.querySelectorAll("[data-at]")) button.addEventListener("click", () => go(Number(button.dataset.at)));
}
