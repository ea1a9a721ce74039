"""The page of two or more evaluations side by side."""

from pathlib import Path

from results.comparing import Comparison
from results.pages.page import never_fatal, write_page

# Videos of a pair that one run alone has right, on the page; comparison.csv has them all.
MOST_VIDEOS = 200


@never_fatal
def write_comparison_page(path: Path, comparison: Comparison) -> None:
    """Write the page; a failure is one line on the screen."""
    pairs = [
        {"a": a, "b": b, "counts": counts, "alone": [(a, b, comparison.alone(a, b)), (b, a, comparison.alone(b, a))]}
        for a, b, counts in comparison.pairs()
    ]
    shares = list(comparison.shares())
    facts = {run.name: run.metrics.get("protocol", "") for run in comparison.runs}
    write_page(
        path, "comparison.html", comparison=comparison, shares=shares, pairs=pairs, most=MOST_VIDEOS, facts=facts
    )
