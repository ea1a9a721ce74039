"""Choose and pack the rows of a page's table of videos: the most important ones within the page's size limit.

They stand in the page as JSON by columns. results/pages/templates/videos.js draws the visible ones.
"""

import functools
import heapq
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from results.pages.page import address_of
from results.pages.words import shown
from utils.storage.objects import is_remote

# With these limits, a page with all pictures stays below 10 MB.
MOST_ROWS, MOST_BYTES = 20_000, 2_500_000


@dataclass(frozen=True)
class Table:
    """The videos of a page: `json` for the script, how many rows it has, and how many there are in all."""

    json: Markup
    rows: int
    total: int
    folder: str | None  # the folder that holds all of the rows' videos


def first_rows(rows: Iterable[dict], key: Callable[[dict], tuple]) -> list[dict]:
    """Return at most MOST_ROWS of any number of rows, those with the smallest key first."""
    return heapq.nsmallest(MOST_ROWS, rows, key)


def table_of(
    rows: Sequence[dict],
    values: Mapping[str, Callable[[dict], object]],
    classes: Sequence[tuple[str, int | None]],
    beside: Path | None,
    total: int,
) -> Table:
    """Pack rows, each with `video` and `position`, into a table of at most MOST_BYTES.

    values: for each column name, a function that gives a row's value: a number, an index in `classes`, a probability in
    millionths (`millionths`), or a list of [index in `classes`, probability], where the probability may be left out.
    classes: (name, colour number or None). beside: the page's folder, for links to the
    videos; None: no links. total: the number of all rows; `rows` are the first of them.
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
    """Return a probability in millionths, rounded down so that it stays in its bin."""
    return int(1e6 * probability)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _place(video: str, beside: Path | None) -> tuple[str, str, str]:
    """Return a video's folder with its slash, its name, and the folder's address, or "" if there can be no link."""
    name = video.rpartition("/")[2]
    folder = video[: len(video) - len(name)]
    linked = beside is not None and not is_remote(video) and shown(video) == video
    return shown(folder), shown(name), _address(folder, beside) if linked else ""


@functools.cache
def _address(folder: str, beside: Path) -> str:
    return address_of(folder or ".", beside) + "/"
