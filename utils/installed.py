"""Check what this Python has: python utils/installed.py [-r FILE] [REQUIREMENT] ...

It exits with 0 if each requirement is installed in the right version, with all that it requires itself, and with 1
otherwise. run.sh asks it before each script, because pip takes much longer for the same answer.
"""

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement  # pip is in every environment that can install something


def main(words: list[str]) -> int:
    """Return the exit code."""
    seen: set[str] = set()
    return int(not all(_is_here(requirement, {""}, seen) for requirement in _requirements(words)))


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


def _is_here(requirement: Requirement, extras: set[str], seen: set[str]) -> bool:
    """Return whether a requirement, and all that it requires, is installed or not for this machine.

    extras: those that are asked of the package which has the requirement. seen: requirements that are checked already.
    """
    marker = requirement.marker
    if str(requirement) in seen or marker and not any(marker.evaluate({"extra": extra}) for extra in extras):
        return True
    seen.add(str(requirement))
    try:
        facts = metadata.metadata(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    needed = map(Requirement, facts.get_all("Requires-Dist", ()))
    return requirement.specifier.contains(facts["Version"], prereleases=True) and all(
        _is_here(other, {"", *requirement.extras}, seen) for other in needed
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
