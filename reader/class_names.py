"""The label list: the names of the classes by class id."""

import json
import os
import re
import unicodedata
from collections.abc import Sequence

from utils.config.foreign import labels_advice
from utils.errors import InputError, quoted
from utils.log import say

MAX_LABELS_BYTES = 10_000_000
# Words in class names that a mirrored clip exchanges.
_SIDES = {"left": "right", "links": "rechts", "左": "右"}
_OTHER_SIDE = _SIDES | {other: side for side, other in _SIDES.items()}
_SIDE = re.compile(r"(?<![a-z])(?:left|right|links|rechts)(?![a-z])|[左右]")


def read_names(path: str, option: str) -> list[str]:
    """Return the names of a label list, in its order; option: the key or flag that gives it, for errors.

    A manifest of train.py is a label list, too: it holds the names of the trained classes.

    Raises InputError if the file is missing, or is not a JSON list of single lines of text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_LABELS_BYTES + 1)
        if len(content) > MAX_LABELS_BYTES:
            raise InputError(f"{path}: the label list is larger than {MAX_LABELS_BYTES} bytes")
        names = json.loads(content)
    except FileNotFoundError:
        raise InputError(f"{path}: no such label list ({option})") from None
    except OSError as error:
        raise InputError(f"{path}: the label list cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {labels_advice(path, content) or f'the label list is not JSON: {error}'}") from None
    if isinstance(names, dict):
        names = names.get("classes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: the label list must be a JSON list of names")
    for k, name in enumerate(names):
        if is_hidden(name):
            raise InputError(f"{path}: label {k} is not one line of text: {quoted(name)}")
    return names


def is_hidden(name: str) -> bool:
    """Return whether a name has control characters, which would reach the terminal, or lone surrogates."""
    return not name.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in name)


def read_labels(path: str, num_classes: int) -> list[str]:
    """Return the class names by class id; if the path is '', the class ids as text.

    Raises InputError as `read_names`, and if the number of names is not num_classes.
    """
    if not path:
        return [str(k) for k in range(num_classes)]
    names = read_names(path, "INFER.kinetics_labels")
    if len(names) != num_classes:
        raise InputError(
            f"{path}: {len(names)} labels, but MODEL.num_classes is {num_classes} (INFER.kinetics_labels; '': classes "
            "get numbers as names)"
        )
    return names


def class_names(path: str, num_classes: int) -> list[str]:
    """Return the names for tables: those of the label list, or the class ids if there is no such file.

    Raises InputError if there is a label list, but without exactly num_classes valid names.
    """
    if path and not os.path.exists(path):
        say(f"{path}: no such label list: classes get numbers as names")
        return [str(k) for k in range(num_classes)]
    return read_labels(path, num_classes)


def mirror_advice(names: Sequence[str]) -> list[str]:
    """Return a line on classes with a side in their names, which mirroring swaps in half of the training clips.

    Return [] if there are no such classes.
    """
    plain = [name.lower().replace("_", " ") for name in names]
    ids = {name: k for k, name in enumerate(plain)}
    sided = [k for k, name in enumerate(plain) if _SIDE.search(name)]
    if not sided:
        return []
    mirrored = {k: ids.get(_SIDE.sub(lambda side: _OTHER_SIDE[side[0]], plain[k])) for k in sided}
    pairs = [[k, other] for k, other in mirrored.items() if other is not None and k < other]
    exchange = f"TRAIN.flip_pairs={pairs} exchanges the classes of mirrored clips, " if pairs else ""
    some = ", ".join(quoted(names[k]) for k in sided[:4]) + (", ..." if len(sided) > 4 else "")
    return [
        f"classes with a side in their names: {len(sided)} ({some}); training mirrors half of the clips: "
        f"{exchange}TRAIN.flip=False mirrors none"
    ]
