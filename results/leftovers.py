"""Remove files that an earlier run left in the folder once the results of the new run are written."""

import json
import shutil
from contextlib import suppress
from pathlib import Path, PurePath

from utils.log import say
from utils.storage.files import write_text, written_below
from utils.storage.stamps import signature

# Lists the files of the last run, because a file of the same name could be the user's. Hidden: not a result.
NAME = ".made.json"
_SHOWN = 3


def replace_earlier(folder: Path) -> None:
    """Remove files that an earlier run noted in the folder and this run did not write, and say so.

    Raises RunError if the list of this run's files cannot be written.
    """
    ours = {path.relative_to(folder).as_posix(): _stamp(path) for path in sorted(written_below(folder))}
    ours.pop(NAME, None)
    earlier = _earlier(folder / NAME)
    # A file that has changed since belongs to somebody else.
    stale = [name for name, stamp in earlier.items() if name not in ours and _stamp(folder / name) == stamp]
    for name in stale:
        with suppress(OSError):
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    for parent in {(folder / name).parent for name in stale} - {folder}:
        with suppress(OSError):  # the folder is not empty
            parent.rmdir()
    write_text(folder / NAME, json.dumps(ours) + "\n")
    if stale:
        more = f" and {len(stale) - _SHOWN} more" if len(stale) > _SHOWN else ""
        say(f"{folder}: removed files of an earlier run: {', '.join(stale[:_SHOWN])}{more}")


def _stamp(path: Path) -> list[int] | str | None:
    """Return a stamp that changes with the file; a constant for a folder; None if it is missing."""
    return "folder" if path.is_dir() else signature(str(path)) if path.exists() else None


def _earlier(path: Path) -> dict[str, object]:
    """Return the names that an earlier run noted, all below its folder, and their stamps.

    {} if there are none.
    """
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = names if isinstance(names, dict) else {}
    within = (name for name in known if not PurePath(name).is_absolute() and ".." not in PurePath(name).parts)
    return {name: known[name] for name in within if name and known[name] is not None}
