"""Write the page that compares two or more evaluations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from markupsafe import Markup

from metrics.sums import ClassSums
from results.comparing import Comparison, Key
from results.pages.page import address_of, never_fatal, shorten, write_page
from results.pages.video_rows import first_rows, millionths, table_of
from results.pages.words import both_in

# The table of classes shows this many, where the runs differ most. The page stays below 10 MB.
MOST_CLASSES = 2000


@never_fatal
def write_comparison_page(path: Path, comparison: Comparison) -> None:
    """Write the page; a failure is one line on the screen. Links to videos start from the page's folder."""
    runs, videos = comparison.runs, comparison.videos
    letters = letters_of(len(runs))
    labels = Counter(runs[0].rows[key]["label"] for key in videos)
    ids = sorted(comparison.class_names, key=int)
    place = {k: i for i, k in enumerate(ids)}
    names = [shorten(comparison.class_names[k], 60) for k in ids]
    differing = [key for key in videos if len({run.rows[key]["predicted_class"] for run in runs}) > 1]
    rows = [{"position": number, "video": key[0], "key": key} for number, key in enumerate(differing)]

    values = {
        "true": lambda row: place[runs[0].rows[row["key"]]["label"]],
        "right": lambda row: _pattern(comparison, row["key"]),
    }
    for number, run in enumerate(runs):
        values[f"named{number}"] = lambda row, run=run: place[run.rows[row["key"]]["predicted_class"]]
        values[f"p{number}"] = lambda row, run=run: millionths(float(run.rows[row["key"]]["probability"]))
    kept = first_rows(rows, lambda row: row["position"])
    largest = max(labels, key=lambda k: (labels[k], -int(k)))
    write_page(
        path,
        "comparison.html",
        comparison=comparison,
        letters=letters,
        shares=[(run, *comparison.share_of(run)) for run in runs],
        links=[report_of(run.name, path.parent) for run in runs],
        largest=(comparison.class_names[largest], 100 * labels[largest] / len(videos)),
        pairs=[(*pair, counts) for pair, (*_, counts) in zip(combinations(letters, 2), comparison.pairs())],
        classes=_classes(comparison, labels, place),
        table=table_of(kept, values, [(name, None) for name in names], path.parent, len(differing)),
        names=list(enumerate(names)),
        patterns=[(bits, _said(bits, letters)) for bits in sorted({_pattern(comparison, key) for key in differing})],
        facts={run.name: run.metrics.get("protocol", "") for run in runs},
    )


def letters_of(runs: int) -> list[str]:
    """Return what the page calls each of so many runs."""
    return [chr(ord("A") + number) if number < 26 else str(number + 1) for number in range(runs)]


def _pattern(comparison: Comparison, key: Key) -> int:
    """Return the runs that are right about the video, a bit each."""
    return sum(run.right(key) << number for number, run in enumerate(comparison.runs))


def _said(bits: int, letters: Sequence[str]) -> str | Markup:
    """Return the name of a pattern in the selection list."""
    right = [letter for number, letter in enumerate(letters) if bits >> number & 1]
    return ", ".join(right) or both_in("label", "none of them", "均错误")


def class_row(name: str, class_id: int, videos: int, scores: Sequence[tuple[float, float]]) -> dict:
    """Return a row for `classes_of_runs` in macros.html. scores: in each run the figure to compare, and F1."""
    figures = [figure for figure, _ in scores]
    spread = max(figures) - min(figures)
    return {"name": shorten(name, 60), "id": class_id, "videos": videos, "scores": scores, "spread": spread}


def most_different(rows: Iterable[dict]) -> list[dict]:
    """Return at most MOST_CLASSES rows of `class_row`, the largest differences first."""
    return sorted(rows, key=lambda row: (-row["spread"], row["id"]))[:MOST_CLASSES]


def _classes(comparison: Comparison, labels: Counter[str], place: Mapping[str, int]) -> list[dict]:
    """Return each class's recall and F1 in every run. place: its number in the page's table of videos."""
    sums = [{k: ClassSums() for k in comparison.class_names} for _ in comparison.runs]
    for run, found in zip(comparison.runs, sums):
        for key in comparison.videos:
            row = run.rows[key]
            found[row["label"]].videos += 1
            found[row["label"]].right += run.right(key)
            found[row["predicted_class"]].named += 1
    rows = []
    for k, videos in labels.items():
        scores = [(one[k].scores["recall"], one[k].scores["f1"]) for one in sums]
        rows.append(class_row(comparison.class_names[k], int(k), videos, scores) | {"place": place[k]})
    return most_different(rows)


def report_of(run: str, beside: Path) -> str:
    """Return the address of a run's own page, or "" if it has none."""
    page = Path(run) / "report.html"
    return address_of(page, beside) if page.is_file() else ""
