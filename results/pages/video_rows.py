"""The videos of a page as rows of its table: those that matter most, in as many bytes as a page has for them.

They stand in the page as JSON by columns, of which results/pages/templates/videos.js draws what is looked at.
"""

import functools
import heapq
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from results.pages.words import shown
from utils.storage.objects import is_remote

# With all pictures a page stays below 10 MB.
MOST_ROWS, MOST_BYTES = 20_000, 2_500_000


@dataclass(frozen=True)
class Table:
    """What a page has of its videos: `json` for the script, how many rows are in it, and of how many."""

    json: Markup
    rows: int
    total: int
    folder: str | None  # the one that all of the rows lie in


def first_rows(rows: Iterable[dict], key: Callable[[dict], tuple]) -> list[dict]:
    """Return at most MOST_ROWS of any number of rows, those with the least key first."""
    return heapq.nsmallest(MOST_ROWS, rows, key)


def table_of(
    rows: Sequence[dict],
    values: Mapping[str, Callable[[dict], int]],
    classes: Sequence[tuple[str, int | None]],
    beside: Path | None,
    total: int,
) -> Table:
    """Pack rows, each with `video` and `position`, into a table of at most MOST_BYTES.

    values: by the name of a column what a row has there: a place in `classes`, or a probability in millionths
    (`millionths`). classes: (name, number of its colour or none). beside: the page's folder, from which the videos
    are linked; None: no links. total: how many rows there are, of which these are the first.
    """
    folders: dict[tuple[str, str], int] = {}
    columns: dict[str, list] = {"position": [], "folder": [], "name": [], **{name: [] for name in values}}
    taken = 0
    for number, row in enumerate(rows):
        folder, name, link = _place(row["video"], beside)
        place = folders.setdefault((folder, link), len(folders))
        line = [row["position"], place, name, *(value(row) for value in values.values())]
        taken += len(_json(line).encode()) + (len(_json([folder, link]).encode()) if place == len(folders) - 1 else 0)
        if taken > MOST_BYTES:
            rows = rows[:number]
            break
        for column, value in zip(columns.values(), line, strict=True):
            column.append(value)
    table = {"classes": [[shown(name), colour] for name, colour in classes], "folders": list(folders), "rows": columns}
    same = {folder for folder, _ in folders}
    return Table(Markup(_json(table).replace("<", r"\u003c")), len(rows), total, same.pop() if len(same) == 1 else None)


def millionths(probability: float) -> int:
    """Return a probability in whole millionths, never more than it is: bins hold the rows that they count."""
    return int(1e6 * probability)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _place(video: str, beside: Path | None) -> tuple[str, str, str]:
    """Return a video's folder with its slash, its name, and the folder's address: "" where nothing can be linked."""
    name = video.rpartition("/")[2]
    folder = video[: len(video) - len(name)]
    linked = beside is not None and not is_remote(video) and shown(video) == video
    return shown(folder), shown(name), _address(folder, beside) if linked else ""


@functools.cache
def _address(folder: str, beside: Path) -> str:
    return quote(os.path.relpath(folder or ".", beside)) + "/"
