// Show the counts at the threshold that a slider chooses. The page has the counts of both classes at every threshold.

for (const box of document.querySelectorAll(".thresholds")) {
  const slider = box.querySelector("[type=range]"), chosen = box.querySelector("select");
  const parts = [...box.querySelectorAll("[data-class]")];
  const counts = new Map(parts.map((part) => [part.dataset.class, JSON.parse(part.dataset.counts)]));
  const side = Number(box.dataset.side), percent = (part, whole) => (whole ? `${(100 * part / whole).toFixed(1)}%` : "–");
  const show = () => {
    for (const part of parts) part.hidden = part.dataset.class !== chosen.value;
    const [hits, wrong, missed, rest] = counts.get(chosen.value)[slider.value];
    const values = {
      threshold: `${slider.value}%`, hits, wrong, missed, rest,
      precision: percent(hits, hits + wrong), recall: percent(hits, hits + missed), alarms: percent(wrong, wrong + rest),
      f1: percent(2 * hits, 2 * hits + wrong + missed), accuracy: percent(hits + rest, hits + wrong + missed + rest),
    };
    for (const item of box.querySelectorAll("[data-value]")) item.textContent = values[item.dataset.value].toLocaleString("en");
    const places = { roc: [wrong / (wrong + rest), hits / (hits + missed)], precision: [hits / (hits + missed), hits / (hits + wrong)] };
    for (const dot of box.querySelectorAll("[data-dot]")) {
      const [x, y] = places[dot.dataset.dot];
      dot.setAttribute("visibility", Number.isNaN(y) ? "hidden" : "visible");
      if (!Number.isNaN(y)) { dot.setAttribute("cx", side * x); dot.setAttribute("cy", side * (1 - y)); }
    }
  };
  slider.addEventListener("input", show);
  chosen.addEventListener("input", show);
  show();
}
