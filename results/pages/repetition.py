"""Write the page of a recipe that was run several times."""

from collections.abc import Mapping
from pathlib import Path

from results.pages.page import never_fatal, write_page


@never_fatal
def write_repetition_page(path: Path, whole: Mapping) -> None:
    """Write the page; a failure is one line on the screen. whole: the content of repeat.json from tools/repeat.py."""
    runs = whole["runs"]
    pooled, facts = whole.get("every_video_once"), {"protocol": whole["protocol"]}
    write_page(path, "repetition.html", whole=whole, runs=runs, pooled=pooled, facts=facts)
