"""The page of an evaluation of many labels: each class's average precision, precision, recall and F1."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from metrics.many import ManyClass, ManyScores
from results.pages.page import never_fatal, shorten, write_page

# What a page holds at most.
MOST_SHOWN = 2000


@never_fatal
def write_many_page(
    path: Path,
    sums: ManyScores,
    classes: Sequence[ManyClass],
    metrics: Mapping[str, object],
    names: Sequence[str],
    facts: Mapping[str, object],
) -> None:
    """Write the page; a failure is one line on the screen.

    Args:
        sums: of all videos.
        classes: of each class what `ManyScores.classes` gives.
        metrics: as in metrics.json.
        names: of the classes, by class id.
        facts: further lines about the run.
    """
    known = [(k, found) for k, found in enumerate(classes) if found.videos]
    worst = sorted(known, key=lambda one: (one[1].average_precision, one[0]))[:MOST_SHOWN]
    shown = [(k, shorten(names[k], 60), found) for k, found in worst]
    write_page(path, "many.html", sums=sums, metrics=metrics, classes=shown, known=len(known), facts=facts)
