"""Parse the flags of this room's programs, and the command line of make_lists.py."""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.lists.folds import MOST_FOLDS
from utils.config.flags import Parser
from utils.config.kinds import Number, Template, Whole
from utils.errors import InputError


def reader(kind: Whole | Number | Template, pattern: str, make: Callable) -> Callable[[str], Any]:
    """Return a function that reads the text of a flag, and raises ArgumentTypeError if it is not of this kind.

    pattern: matches the texts that `make` turns into a value.
    """

    def read(text: str) -> Any:
        try:
            if not re.fullmatch(pattern, text, re.ASCII | re.DOTALL):
                raise ValueError
            return kind.read(make(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {kind}, not {text!r}") from None

    return read


count = reader(Whole(1), r"\d{1,9}", int)
seed = reader(Whole(0), r"\d{1,18}", int)
share = reader(Number(0, 1), r"\d?\.?\d{1,9}", float)
rate = reader(Number(1, 240), r"\d{1,3}(\.\d{1,9})?", float)  # frames a second
template = reader(Template(), ".*", str)


def several(most: int) -> Callable[[str], int]:
    """Return a function that reads a whole number from 2 to `most`."""
    return reader(Whole(2, most), r"\d{1,9}", int)


def out_folder(text: str) -> Path:
    """Return the value of a flag that takes a folder.

    Raises ArgumentTypeError for a path that no configuration can contain.
    """
    if any(c < " " or "\x7f" <= c <= "\x9f" for c in text):
        raise argparse.ArgumentTypeError(f"expected a path without control characters, not {text!r}")
    return Path(text).expanduser() if text.startswith("~/") else Path(text)  # shells do not expand --out=~/lists


def expression(text: str) -> re.Pattern:
    """Return the value of a flag that takes a regular expression. Raises ArgumentTypeError for anything else."""
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"expected a regular expression, not {text!r}: {error}") from None


def documented_parser(script: str, doc: str | None) -> Parser:
    """Return the parser of a program. doc: the program's docstring, which `--help` prints."""
    description, _, epilog = (doc or "").partition("\n\n")  # python -OO removes the docstring
    return Parser(script, description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)


def evaluated_runs(script: str, doc: str | None, metavar: str, out: str) -> argparse.Namespace:
    """Return the arguments of a program that takes folders of eval.py: `runs`, and `out` as a Path.

    out: its default. Raises InputError for fewer than two folders.
    """
    parser = documented_parser(script, doc)
    what = "folder that eval.py has written to"
    parser.add_argument("runs", nargs="+", metavar=metavar, help=what)
    where = "folder for the results (default: %(default)s)"
    parser.add_argument("--out", type=out_folder, metavar="DIR", default=Path(out), help=where)
    args = parser.parse_args()
    if len(args.runs) < 2:
        raise InputError("expected two or more folders that eval.py has written to")
    return args


def list_arguments(doc: str | None) -> argparse.Namespace:
    """Return the command line of make_lists.py. Raises InputError if flags do not go together."""
    parser = documented_parser("data/make_lists.py", doc)
    add = parser.add_argument
    add("--videos", nargs="+", required=True, metavar="DIR", help="folders with the videos, at any depth")
    annotations = (
        "annotation files of Kinetics, official split files, or CSV of path,labels,split; without it, --videos "
    )
    add("--annotations", nargs="+", metavar="FILE", help=f"{annotations}has a folder per class")
    add("--out", type=out_folder, default=Path("data/dataset/kinetics"), metavar="DIR", help="default: %(default)s")
    add("--force", action="store_true", help="replace lists and config.yaml that are in --out already")
    add(
        "--extend", action="store_true", help="clips in the lists of --out stay in their lists, and new clips are split"
    )
    order = "own: in alphabetical order (default: data/dataset/kinetics_labels.json if it has all names, else own)"
    add("--labels", metavar="JSON|own", help=f"list of names that numbers the classes; {order}")
    add("--split", nargs=3, type=float, metavar=("TRAIN", "VAL", "TEST"), help="shares, default: 0.8 0.1 0.1")
    cross = f"also write lists for cross-validation, with each clip tested in one of K folds, 2 to {MOST_FOLDS}"
    add("--folds", type=several(MOST_FOLDS), metavar="K", help=cross)
    add("--seed", type=seed, default=0, help="of the random split (default: %(default)s)")
    group = "finds the recording's name in a clip's path below its class folder; clips of a recording stay in one split"
    add("--group", type=expression, metavar="REGEX", help=group)
    add("--light", action="store_true", help="config.yaml for PP-TSMv2, a network for CPUs, instead of PP-TSM")
    similar = (
        "clips at least this similar, 1: identical, count as one recording and stay in one split; 0: do not compare"
    )
    add("--similar", type=share, metavar="0..1", help=f"{similar} (default: 0.95; with --annotations 0)")
    args = parser.parse_args()
    args.similar = (0 if args.annotations else 0.95) if args.similar is None else args.similar
    for flag in ("split", "group", "extend"):
        if args.annotations and getattr(args, flag):
            raise InputError(f"--{flag}: leave it out: the annotations say which clip is in which split")
    if args.extend and args.folds:
        raise InputError(f"--folds {args.folds}: expected without --extend: folds are dealt anew each time")
    shares = args.split or (1, 0, 0)
    if not (shares[0] > 0 and min(shares) >= 0 and math.isclose(sum(shares), 1, abs_tol=1e-6)):
        given = " ".join(f"{share:g}" for share in shares)
        raise InputError(f"--split {given}: expected three shares that add up to 1, the first one above 0")
    return args
