"""Turn numbers into the points of charts, which the templates draw as SVG."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.sums import Bin

# In the drawing's units, about pixels on a phone: the whole size, and the margins for the axes' labels.
WIDTH, HEIGHT = 400, 234
LEFT, TOP, RIGHT, BOTTOM = 46, 22, 10, 38
# A curve has at most this many points: a screen cannot show more.
POINTS = 300


class Curve:
    """A series of any length in at most POINTS points, each with the mean, least and largest value it stands for."""

    def __init__(self, first: int, last: int):
        self._first, self._span = first, max(1, last - first + 1)
        self._points: dict[int, list[float]] = {}  # place -> [number, sum of x, sum of y, least y, largest y]

    def add(self, x: int, y: float) -> None:
        """Add y at step x, within first..last."""
        place = (x - self._first) * POINTS // self._span
        point = self._points.setdefault(place, [0, 0.0, 0.0, math.inf, -math.inf])
        point[:] = [point[0] + 1, point[1] + x, point[2] + y, min(point[3], y), max(point[4], y)]

    @property
    def points(self) -> list[tuple[float, float, float, float]]:
        """Return (x, mean, least, largest) in the order of x."""
        return [(x / n, y / n, low, high) for _, (n, x, y, low, high) in sorted(self._points.items())]


@dataclass
class Chart:
    """A chart for a template: ticks as (place, label), lines and bands as SVG paths, dots as (x, y)."""

    title: tuple[str, str]  # English, Chinese
    y_name: tuple[str, str]
    unit: str
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    line: str = ""
    band: str = ""
    whole: list[tuple[float, float]] = field(default_factory=list)
    dots: list[tuple[float, float]] = field(default_factory=list)
    dots_line: str = ""
    marks: list[float] = field(default_factory=list)
    summary: tuple[str, str] = ("", "")
    # The values under the pointer by series, as JSON: [x, step, value], and for a mean also the least and the largest.
    seen: str = ""


def line_chart(
    title: tuple[str, str],
    y_name: tuple[str, str],
    unit: str,
    curves: Mapping[str, Curve],
    marks: Sequence[int],
    x_range: tuple[int, int],
    steps_per_epoch: int,
    least: float,
) -> Chart:
    """Return the chart of what a run logged; vertical lines at the steps `marks`.

    curves: "train" is drawn as a line with its band, "epoch" (training, over whole epochs) and "valid" as dots. The x
    axis has the numbers of epochs below the middle of their steps; the y axis goes from 0 to the largest value, but at
    least to `least`.
    """
    points, whole, dots = (curves[mode].points for mode in ("train", "epoch", "valid"))
    high = max([least, *(p[3] for p in points + whole + dots)]) or 1
    y_ticks = ticks(0, high)
    high = max(high, y_ticks[-1])
    first, last = x_range

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - first) / max(1, last - first), 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / high), 1)

    def placed(series: list) -> list[tuple[float, float]]:
        return [(x(p[0]), y(p[1])) for p in series]

    upper, lower = ([(x(p[0]), y(p[i])) for p in points] for i in (3, 2))
    epochs = [
        (tick, max(first, tick * steps_per_epoch), min(last, (tick + 1) * steps_per_epoch))
        for tick in ticks(first / steps_per_epoch, last / steps_per_epoch)
        if tick == int(tick)
    ]
    series = {"train": points, "epoch": whole, "valid": dots}
    values = {name: slice(1, 4) if name == "train" else slice(1, 2) for name in series}
    seen = {
        name: [[x(p[0]), round(p[0]), *(float(f"{value:.4g}") for value in p[values[name]])] for p in few]
        for name, few in series.items()
    }
    return Chart(
        title,
        y_name,
        unit,
        x_ticks=[(x((begin + end) / 2), f"{epoch:,.0f}") for epoch, begin, end in epochs if begin < end],
        y_ticks=[(y(tick), f"{tick:g}") for tick in y_ticks],
        line=_path(placed(points)),
        band=_path(upper + lower[::-1]) + "Z" if points else "",
        whole=placed(whole),
        dots=placed(dots),
        dots_line=_path(placed(dots)),
        marks=[x(mark) for mark in marks],
        summary=(
            _summary(
                {"training": points, "validation": dots}, "{} from {}{unit} to {}{unit}, last {}{unit}", "; ", unit
            ),
            _summary({"训练": points, "验证": dots}, "{}从 {}{unit} 到 {}{unit}，最后 {}{unit}", "；", unit),
        ),
        seen=json.dumps(seen),
    )


def _summary(series: Mapping[str, list], form: str, between: str, unit: str) -> str:
    """Describe a chart in words for people who cannot see it."""
    parts = []
    for name, points in series.items():
        if points:
            values = min(p[2] for p in points), max(p[3] for p in points), points[-1][1]
            parts.append(form.format(name, *(f"{value:.4g}" for value in values), unit=unit))
    return between.join(parts)


def ticks(low: float, high: float, number: int = 5) -> list[float]:
    """Return about `number` round numbers that cover `low` to `high`, in steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / number or 1.0
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def reliability_chart(bins: Sequence[Bin], side: float = 260.0) -> Mapping[str, object]:
    """Return a bar for each bin with videos, in a square of `side` units, with accuracy and confidence in percent."""
    width, most = side / len(bins), max(found.videos for found in bins) or 1
    bars = []
    for place, found in enumerate(bins):
        if found.videos:
            accuracy, confidence = found.right / found.videos, found.probability_sum / found.videos
            bars.append(
                {
                    "from": 100 * place / len(bins),
                    "to": 100 * (place + 1) / len(bins),
                    "x": place * width,
                    "height": side * accuracy,
                    "middle": side * confidence,
                    "accuracy": 100 * accuracy,
                    "confidence": 100 * confidence,
                    "videos": found.videos,
                    "share": found.videos / most,
                }
            )
    return {"side": side, "width": width, "bars": bars}
