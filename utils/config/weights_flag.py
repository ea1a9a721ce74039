"""Split a flag that names several networks, each with a factor: --weights=a.pdparams*2,b.pdparams."""

import os
import re

from utils.config.published import SUFFIXES
from utils.errors import InputError

_WITH_FACTOR = re.compile(r"(.*)\*(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})", re.ASCII | re.DOTALL)


def split_weights(text: str | None) -> list[tuple[str, float]]:
    """Return (weights, factor) for each network; [] for none or one, whose text is then used unchanged.

    A comma or `*2` inside an existing path does not split it. Raises InputError for an empty name.
    """
    pieces, found = (text or "").split(","), []
    while pieces:
        # Paths may hold commas: take the longest existing path that starts here, or the text up to the next comma.
        for end in range(len(pieces), 0, -1):
            weights, factor = factor_of(",".join(pieces[:end]))
            if end == 1 or is_there(weights):
                break
        if not weights and text:
            raise InputError(f"--weights={text}: expected weights between the commas and after the last one")
        found.append((weights, factor))
        pieces = pieces[end:]
    return found if len(found) > 1 else []


def factor_of(text: str) -> tuple[str, float]:
    """Return the path and its factor: ("a", 2.0) for a*2, 1.0 without. Raises InputError for a factor of 0."""
    if is_there(text) or not (found := _WITH_FACTOR.fullmatch(text)):
        return text, 1.0
    if not float(found[2]):
        raise InputError(f"{text}: expected a factor above 0")
    return found[1], float(found[2])


def is_there(path: str) -> bool:
    """Return whether a file or folder exists at that path, with or without a suffix of weights."""
    return any(os.path.exists(os.path.expanduser(path) + suffix) for suffix in ("", *SUFFIXES))
