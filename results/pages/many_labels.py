"""Write the page of an evaluation with many labels: the figures of each class, and the errors of each video."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from metrics.many import ManyClass, ManyScores
from metrics.sums import MISTAKES_KEPT
from results.pages.evaluation import MANY, MOST_CLASSES
from results.pages.page import Frames, never_fatal, pictures_of, shorten, write_page
from results.pages.video_rows import first_rows, millionths, table_of

# Bars of each kind below a video's frames.
MOST_OF_A_KIND = 5
# The kinds of errors in the column `kinds`: a video has those that apply to it.
NO_ERROR, ERROR, MISSED, WRONG = range(4)


class ManyVideos:
    """The videos of an evaluation with many labels: all are counted, those with the most errors are kept.

    A kept row is {"position", "video", "loss", "errors": the number of missed and wrong classes} and, as pairs (class
    id, probability), its classes "true", "named", "missed", "wrong" and "right". The most probable ones come first,
    except in "true", which is by class id.
    """

    def __init__(self, rows: Iterable[dict], thresholds: Sequence[float]):
        """rows: see inference/label_kinds.py; read once. thresholds: of the classes."""
        self.faulty = 0  # videos with errors
        # float32, as in metrics.json
        self._least = np.array(thresholds, np.float32)
        self.rows = first_rows(self._counted(rows), lambda row: (-row["errors"], -row["loss"], row["position"]))

    def _counted(self, rows: Iterable[dict]) -> Iterator[dict]:
        for row in rows:
            if "error" in row:
                continue
            shares = row["probabilities"]
            true = set(row["labels"])
            named = set(np.flatnonzero(np.array(shares, np.float32) >= self._least).tolist())
            kinds = {"named": named, "missed": true - named, "wrong": named - true, "right": true & named}
            found = {kind: sorted(((k, shares[k]) for k in ids), key=_likeliest) for kind, ids in kinds.items()}
            errors = len(true ^ named)
            self.faulty += errors > 0
            about = {"position": row["position"], "video": row["video"], "loss": row["loss"], "errors": errors}
            yield about | {"true": [(k, shares[k]) for k in sorted(true)]} | found

    @property
    def pictured(self) -> list[dict]:
        """The rows whose frames are shown, in their order."""
        return [row for row in self.rows[:MISTAKES_KEPT] if row["errors"]]


def _likeliest(found: tuple[int, float]) -> tuple[float, int]:
    """Return a sort key: the most probable class first."""
    return -found[1], found[0]


@never_fatal
def write_many_page(
    path: Path,
    rows: Iterable[dict],
    sums: ManyScores,
    classes: Sequence[ManyClass],
    metrics: Mapping[str, object],
    names: Sequence[str],
    facts: Mapping[str, object],
    frames: Frames,
    beside: Path | None = None,
) -> None:
    """Write the page; a failure is one line on the screen.

    Args:
        rows: of all videos, see inference/label_kinds.py; read once.
        sums: over all videos.
        classes: the result of `ManyScores.classes`.
        metrics: as in metrics.json.
        names: the classes' names by class id.
        facts: further lines about the run.
        frames: gives the frames that the network saw; called once, for the videos whose frames are shown.
        beside: the page's folder, where links to videos start; None: no links.
    """
    names = [shorten(name, 60) for name in names]
    known = [(k, found) for k, found in enumerate(classes) if found.videos]
    worst = sorted(known, key=lambda one: (one[1].average_precision, one[0]))[:MOST_CLASSES]
    videos = ManyVideos(rows, [found.threshold for found in classes])
    values = {
        "errors": lambda row: row["errors"],
        "loss": lambda row: round(row["loss"], 4),
        "kinds": _kinds_of,
        "true": lambda row: [[k] for k, _ in row["true"]],
    }
    for kind in ("named", "missed", "wrong"):
        values[kind] = lambda row, kind=kind: [[k, millionths(share)] for k, share in row[kind]]
    write_page(
        path,
        "many.html",
        sums=sums,
        metrics=metrics,
        facts=facts,
        folder=beside,
        known=len(known),
        classes=[(k, names[k], found) for k, found in worst],
        many=MANY,
        names=names,
        choices=_choices(classes, names),
        faulty=videos.faulty,
        table=table_of(videos.rows, values, [(name, None) for name in names], beside, sums.videos),
        pictured=videos.pictured,
        pictures=pictures_of(frames, [row["position"] for row in videos.pictured]),
        bars=MOST_OF_A_KIND,
    )


def _kinds_of(row: dict) -> list[list[int]]:
    """Return the kinds of errors of a video, in the form of a column of classes."""
    found = [kind for kind, name in ((MISSED, "missed"), (WRONG, "wrong")) if row[name]]
    return [[kind] for kind in ([ERROR, *found] if found else [NO_ERROR])]


def _choices(classes: Sequence[ManyClass], names: Sequence[str]) -> dict[str, list[tuple[int, str]]]:
    """Return the classes (id, name) by which each column of classes can be filtered: those that it has."""
    counts = {
        "true": lambda found: found.videos,
        "named": lambda found: found.named,
        "missed": lambda found: found.videos - found.right,
        "wrong": lambda found: found.named - found.right,
    }
    return {kind: [(k, names[k]) for k, found in enumerate(classes) if count(found)] for kind, count in counts.items()}
