"""Check what this Python has: python utils/installed.py [-r FILE] [REQUIREMENT] ...

It exits with 0 if a package of the right version is there for each requirement, and with 1 otherwise. run.sh asks it
before each script, because pip takes ten times as long for the answer.
"""

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement  # pip is in every environment that can install something


def main(words: list[str]) -> int:
    """Return the exit code."""
    return int(not all(map(_is_here, _requirements(words))))


def _requirements(words: list[str]) -> Iterator[Requirement]:
    """Yield the requirements among words for pip, with those of the files behind -r, and of the files in these."""
    rest = iter(words)
    for word in rest:
        if word != "-r":
            yield Requirement(word)
            continue
        file = Path(next(rest))
        for line in file.read_text(encoding="utf-8").splitlines():
            line = line.partition("#")[0].strip()
            if line.startswith("-r "):
                yield from _requirements(["-r", str(file.parent / line[3:].strip())])
            elif line:
                yield Requirement(line)


def _is_here(requirement: Requirement) -> bool:
    if requirement.marker and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
