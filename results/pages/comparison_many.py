"""Write the page that compares two or more evaluations with many labels a video."""

from itertools import combinations
from pathlib import Path

from results.comparing_many import ManyComparison
from results.pages.comparison import class_row, letters_of, most_different, report_of
from results.pages.page import never_fatal, write_page


@never_fatal
def write_many_comparison_page(path: Path, comparison: ManyComparison) -> None:
    """Write the page; a failure is one line on the screen."""
    runs, letters = comparison.runs, letters_of(len(comparison.runs))
    shares = [
        (run, comparison.maps[i], comparison.interval(i), comparison.scores[i].means["mAP_micro"], comparison.f1(i))
        for i, run in enumerate(runs)
    ]
    write_page(
        path,
        "comparison_many.html",
        comparison=comparison,
        letters=letters,
        shares=shares,
        links=[report_of(run.name, path.parent) for run in runs],
        pairs=[(*pair, found) for pair, (*_, found) in zip(combinations(letters, 2), comparison.pairs())],
        draws=comparison.drawn.shape[1],
        classes=_classes(comparison),
        facts={run.name: run.metrics.get("protocol", "") for run in runs},
    )


def _classes(comparison: ManyComparison) -> list[dict]:
    """Return each class's average precision and F1 in every run."""
    return most_different(
        class_row(name, k, found[0].videos, [(one.average_precision, one.scores["f1"]) for one in found])
        for k, (name, *found) in enumerate(zip(comparison.names, *comparison.classes))
        if found[0].videos
    )
