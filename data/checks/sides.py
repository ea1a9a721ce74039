"""Find clips of one list that look like clips of another, so that a test may repeat what training has shown."""

import base64
from pathlib import Path

import numpy as np

from data.checks.findings import Findings
from data.lists.similar import FRAMES, SMALL, Alike, how_of, read_pictures
from reader.clip import ClipSpec


def look_for_pairs(findings: Findings, threshold: float, spec: ClipSpec, page: Path) -> list[str]:
    """Return lines about readable videos that look alike, and write a page of the pairs if there are any.

    The findings get a note on each video that looks like one of an earlier list. A video belongs to the first list
    that names it.
    """
    listings = findings.listings
    readable = np.flatnonzero(findings.readable)
    pictures, lists = {}, {}
    for video in readable[np.argsort(listings.firsts[readable])].tolist():
        path, entry = listings.first_line(video)
        data = np.frombuffer(base64.b64decode(findings.record(video)["pictures"]), np.uint8)
        pictures[entry.path], lists[entry.path] = data.reshape(FRAMES, SMALL, SMALL), path
    alike = Alike(pictures, threshold)
    for similarity, path, other in alike.pairs(lists):
        if lists[path] != lists[other]:
            line = listings.first_line(listings.find(other))[1].line
            reason = f"{similarity:.3f}, as {lists[other]}:{line}: {other}"
            findings.note_similar(listings.find(path), reason)

    def read(paths: list[str], side: int) -> dict[str, np.ndarray]:
        frames = {path: listings.first_line(listings.find(path))[1].frames for path in paths}
        return read_pictures(paths, side, how_of(spec), frames.get)

    page.unlink(missing_ok=True)
    if alike.groups:
        alike.writer(lists, read)(page)
    return alike.notes(lists, str(page))
