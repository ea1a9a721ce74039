"""Write the page of an evaluation with many labels: average precision, precision, recall and F1 of each class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from metrics.many import ManyClass, ManyScores
from results.pages.page import never_fatal, shorten, write_page

# A page shows at most this many classes.
MOST_SHOWN = 2000


@never_fatal
def write_many_page(
    path: Path,
    sums: ManyScores,
    classes: Sequence[ManyClass],
    metrics: Mapping[str, object],
    names: Sequence[str],
    facts: Mapping[str, object],
    beside: Path | None = None,
) -> None:
    """Write the page; a failure is one line on the screen.

    Args:
        sums: over all videos.
        classes: the result of `ManyScores.classes`.
        metrics: as in metrics.json.
        names: the classes' names by class id.
        facts: further lines about the run.
        beside: the page's folder; None: the page does not name it.
    """
    known = [(k, found) for k, found in enumerate(classes) if found.videos]
    worst = sorted(known, key=lambda one: (one[1].average_precision, one[0]))[:MOST_SHOWN]
    shown = [(k, shorten(names[k], 60), found) for k, found in worst]
    about = {"known": len(known), "facts": facts, "folder": beside}
    write_page(path, "many.html", sums=sums, metrics=metrics, classes=shown, **about)
