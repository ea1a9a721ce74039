// Of a training's charts the values under the pointer, of each series the nearest.

const SERIES = {
  en: { train: "training", epoch: "training, whole epoch", valid: "validation", at: (epoch, step) => `epoch ${epoch}, iter ${step}` },
  zh: { train: "训练", epoch: "训练，整轮", valid: "验证", at: (epoch, step) => `第 ${epoch} 轮第 ${step} 步` },
};

for (const figure of document.querySelectorAll(".chart[data-seen]")) {
  const seen = JSON.parse(figure.dataset.seen), { unit, steps } = figure.dataset;
  const svg = figure.querySelector("svg"), cursor = figure.querySelector(".cursor"), said = figure.querySelector("output");
  const show = (x) => {
    const words = SERIES[language];
    let nearest = null;
    const lines = Object.entries(seen).filter(([, points]) => points.length).map(([name, points]) => {
      const point = points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
      if (!nearest || Math.abs(point[0] - x) < Math.abs(nearest[0] - x)) nearest = point;
      const [, at, value, least, most] = point;
      const range = least === undefined || least === most ? "" : ` (${least} – ${most})`;
      return `${words[name]} ${value}${unit}${range}${name === "train" ? "" : `, ${words.at(Math.floor(at / steps), at % steps)}`}`;
    });
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, nearest[0]);
    cursor.removeAttribute("hidden");
    said.textContent = [words.at(Math.floor(nearest[1] / steps), nearest[1] % steps), ...lines].join(" · ");
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(400 * (event.clientX - box.left) / box.width);
  });
  svg.addEventListener("pointerleave", () => { cursor.setAttribute("hidden", ""); said.textContent = ""; });
}
