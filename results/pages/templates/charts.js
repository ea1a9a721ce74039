// Show the values under the pointer in a training's charts: the nearest point of each series.

const SERIES = {
  en: {
    train: (value, epoch, step) => `epoch ${epoch}, iter ${step}: training ${value}`,
    epoch: (value, epoch) => `whole epoch ${epoch}: ${value}`, valid: (value, epoch) => `validation after ${epoch}: ${value}`,
  },
  zh: {
    train: (value, epoch, step) => `第 ${epoch} 轮第 ${step} 步：训练 ${value}`,
    epoch: (value, epoch) => `第 ${epoch} 整轮：${value}`, valid: (value, epoch) => `第 ${epoch} 轮后验证：${value}`,
  },
};

for (const figure of document.querySelectorAll(".chart[data-seen]")) {
  const seen = JSON.parse(figure.dataset.seen), { unit, steps } = figure.dataset;
  const svg = figure.querySelector("svg"), cursor = figure.querySelector(".cursor"), said = figure.querySelector("output");
  const show = (x) => {
    let nearest = null;
    const lines = Object.entries(seen).filter(([, points]) => points.length).map(([name, points]) => {
      const point = points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
      if (!nearest || Math.abs(point[0] - x) < Math.abs(nearest[0] - x)) nearest = point;
      const [, at, value, least, most] = point;
      const range = least === undefined || least === most ? "" : ` (${least} – ${most})`;
      return SERIES[language][name](`${value}${unit}${range}`, Math.floor(at / steps), at % steps);
    });
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, nearest[0]);
    cursor.removeAttribute("hidden");
    said.textContent = lines.join(" · ");
  };
  for (const kind of ["pointermove", "pointerdown"]) svg.addEventListener(kind, (event) => {
    const box = svg.getBoundingClientRect();
    show(400 * (event.clientX - box.left) / box.width);
  });
  svg.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "touch") return; // also sent when a finger is lifted: the values stay
    cursor.setAttribute("hidden", "");
    said.textContent = "";
  });
}
