"""Note which videos of a list are finished, so that a resumed run does not make them again.

made.partial.jsonl  a first line that says what is made, then a line per video with its notes and files
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from utils.storage.files import note_written, writing
from utils.storage.lines import end_of_lines, parsed, to_line
from utils.storage.stamps import signature

NAME = "made.partial.jsonl"


class Finished:
    """The finished videos in a folder that the run has locked."""

    def __init__(self, folder: Path, what: Mapping[str, object]):
        """Open the notes. `what`: everything that the files depend on; other notes are dropped. Raises RunError."""
        self._folder, self._known = folder, {}
        first = to_line(what).encode("ascii")
        with writing(folder / NAME), open(folder / NAME, "ab+") as file:
            file.truncate(end_of_lines(file))
            file.seek(0)
            if file.readline() == first:
                lines = [line for line in map(parsed, file) if line and "files" in line]
                self._known = {line["position"]: line for line in lines}
            else:
                file.truncate(0)
                file.write(first)

    def known(self, row: Mapping) -> dict | None:
        """Return the notes on the row's video.

        None if it must be made again: one of its files is gone, or the video itself has changed.
        """
        found = self._known.get(row["position"])
        if not found or found["file"] != signature(row["video"]):
            return None
        files = [self._folder / name for name in found["files"]]
        if not all(file.exists() for file in files):
            return None
        for file in files:
            note_written(file)
        return found

    def note(self, row: Mapping, files: Sequence[Path], **noted: object) -> None:
        """Note that a video is finished. Raises RunError."""
        names = [file.relative_to(self._folder).as_posix() for file in files]
        line = {"position": row["position"], "file": signature(row["video"]), "files": names, **noted}
        with writing(self._folder / NAME), open(self._folder / NAME, "ab") as file:
            file.write(to_line(line).encode("ascii"))
