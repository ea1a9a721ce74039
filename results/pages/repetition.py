"""The page of a recipe that was run several times."""

from collections.abc import Mapping
from pathlib import Path

from results.pages.page import never_fatal, write_page


@never_fatal
def write_repetition_page(path: Path, whole: Mapping) -> None:
    """Write the page; a failure is one line on the screen. whole: what data/repeat.py writes into repeat.json."""
    runs = whole["runs"]
    facts = {"how": whole["protocol"], "seconds of all runs": round(sum(one["seconds"] for one in runs))}
    write_page(path, "repetition.html", whole=whole, runs=runs, pooled=whole.get("every_video_once"), facts=facts)
