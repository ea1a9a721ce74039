"""Several networks in one flag, each with a factor of its own: --weights=a.pdparams*2,b.pdparams."""

import os
import re

from utils.config.published import SUFFIXES
from utils.errors import InputError

_WITH_FACTOR = re.compile(r"(.*)\*(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})", re.ASCII | re.DOTALL)


def split_weights(text: str | None) -> list[tuple[str, float]]:
    """Return (weights, factor) of each network; [] where there is none or one, whose text is taken as it is.

    A comma or a `*2` that belongs to a path which is there is no sign of ours. Raise InputError for an empty name.
    """
    pieces, found = (text or "").split(","), []
    while pieces:
        # Of what begins here the longest that is there, as a path may hold a comma; else up to the next comma.
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
    """Return the path and how much it counts: ("a", 2.0) of a*2, 1.0 without. Raise InputError for a factor of 0."""
    found = (
        None if is_there(text) else re.fullmatch(r"(.*)\*(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})", text, re.ASCII | re.DOTALL)
    )
    if not found:
        return text, 1.0
    if not float(found[2]):
        raise InputError(f"{text}: expected a factor above 0")
    return found[1], float(found[2])


def is_there(path: str) -> bool:
    """Return whether there is a file or folder of that path, or with what weights may end in."""
    return any(os.path.exists(os.path.expanduser(path) + suffix) for suffix in ("", *SUFFIXES))
