"""One run, one folder: what an earlier run left there goes when the new one's results stand."""

import json
import shutil
from contextlib import suppress
from pathlib import Path, PurePath

from utils.log import say
from utils.storage.files import write_text, written_below
from utils.storage.stamps import signature

# Names what the last run has written: a file of this name could be the user's as well. Hidden: no part of the results.
NAME = ".made.json"
_SHOWN = 3


def replace_earlier(folder: Path) -> None:
    """Remove what an earlier run says it left in the folder and this one has not written, and say so.

    Raises RunError where the list of this run's files cannot be written.
    """
    ours = {path.relative_to(folder).as_posix(): _stamp(path) for path in sorted(written_below(folder))}
    ours.pop(NAME, None)
    earlier = _earlier(folder / NAME)
    # What has been changed since is somebody else's.
    stale = [name for name, stamp in earlier.items() if name not in ours and _stamp(folder / name) == stamp]
    for name in stale:
        with suppress(OSError):
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    for parent in {(folder / name).parent for name in stale} - {folder}:
        with suppress(OSError):  # it holds something still
            parent.rmdir()
    write_text(folder / NAME, json.dumps(ours) + "\n")
    if stale:
        more = f" and {len(stale) - _SHOWN} more" if len(stale) > _SHOWN else ""
        say(f"{folder}: removed files of an earlier run: {', '.join(stale[:_SHOWN])}{more}")


def _stamp(path: Path) -> list[int] | str | None:
    """Return what tells a file from another one under its name; of a folder that it is one; None: it is not there."""
    return "folder" if path.is_dir() else signature(str(path)) if path.exists() else None


def _earlier(path: Path) -> dict[str, object]:
    """Return the names that an earlier run has noted, all below its folder, and their stamps.

    {} where there are none.
    """
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = names if isinstance(names, dict) else {}
    within = (name for name in known if not PurePath(name).is_absolute() and ".." not in PurePath(name).parts)
    return {name: known[name] for name in within if name and known[name] is not None}
