"""Parse the flags of this room's programs, and the command line of make_lists.py."""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from data.lists.folds import MOST_FOLDS
from utils.config.flags import Parser
from utils.config.kinds import Template
from utils.errors import InputError


def count(text: str) -> int:
    """Return the value of a flag that takes a whole number from 1 up. Raises ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, not {text!r}")
    return int(text)


def seed(text: str) -> int:
    """Return the value of --seed: a whole number from 0 up. Raises ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 up, not {text!r}")
    return int(text)


def several(most: int) -> Callable[[str], int]:
    """Return a reader for a flag that takes a whole number from 2 to `most`; it raises ArgumentTypeError otherwise."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 2 <= int(text[:9]) <= most):
            raise argparse.ArgumentTypeError(f"expected a whole number from 2 to {most}, not {text!r}")
        return int(text)

    return read


def rate(text: str) -> float:
    """Return the value of --fps, frames a second from 1 to 240. Raises ArgumentTypeError for anything else."""
    if not (re.fullmatch(r"\d{1,3}(\.\d{1,9})?", text, re.ASCII) and 1 <= float(text) <= 240):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 240, not {text!r}")
    return float(text)


def template(text: str) -> str:
    """Return the value of --filename_tmpl. Raises ArgumentTypeError for anything else."""
    try:
        return Template().read(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {Template()}, not {text!r}") from None


def share(text: str) -> float:
    """Return the value of a flag that takes a number from 0 to 1. Raises ArgumentTypeError for anything else."""
    if not (re.fullmatch(r"\d?\.?\d{1,9}", text, re.ASCII) and float(text) <= 1):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, not {text!r}")
    return float(text)


def out_folder(text: str) -> Path:
    """Return the value of a flag that takes a folder.

    Raises ArgumentTypeError for a path that no configuration can contain.
    """
    if any(c < " " or "\x7f" <= c <= "\x9f" for c in text):
        raise argparse.ArgumentTypeError(f"expected a path without control characters, not {text!r}")
    return Path(text).expanduser() if text.startswith("~/") else Path(text)  # no shell expands it in --out=~/lists


def expression(text: str) -> re.Pattern:
    """Return the value of a flag that takes a regular expression. Raises ArgumentTypeError for anything else."""
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {text!r}: {error}") from None


def documented_parser(script: str, doc: str | None) -> Parser:
    """Return the parser of a program. The words at the top of the program's file are its `--help`."""
    description, _, epilog = (doc or "").partition("\n\n")  # python -OO removes the text
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


def list_arguments(description: str | None) -> argparse.Namespace:
    """Return the command line of make_lists.py. Raises InputError for mistakes in it."""
    parser = Parser("data/make_lists.py", description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--videos", nargs="+", required=True, metavar="DIR", help="folders with the videos, at any depth")
    annotations = (
        "annotation files of Kinetics, official split files, or CSV of path,labels,split; not given: a folder per class"
    )
    add("--annotations", nargs="+", metavar="FILE", help=annotations)
    add("--out", type=out_folder, default=Path("data/dataset/kinetics"), metavar="DIR", help="default: %(default)s")
    add("--force", action="store_true", help="replace lists and config.yaml that are in --out already")
    order = "own: in alphabetical order; not given: data/dataset/kinetics_labels.json if it has all of them, else own"
    add("--extend", action="store_true", help="what is in the lists there stays in its list, new clips are divided")
    add("--labels", metavar="JSON|own", help=f"list of names that numbers the classes; {order}")
    add("--split", nargs=3, type=float, metavar=("TRAIN", "VAL", "TEST"), help="shares, default: 0.8 0.1 0.1")
    cross = f"lists for cross-validation besides, each clip tested in one of K folds, 2 to {MOST_FOLDS}"
    add("--folds", type=several(MOST_FOLDS), metavar="K", help=cross)
    add("--seed", type=seed, default=0, help="of the random split (default: %(default)s)")
    group = "what names a clip's recording in its path below the class's folder; a recording's clips stay in one split"
    add("--group", type=expression, metavar="REGEX", help=group)
    add("--light", action="store_true", help="config.yaml for PP-TSMv2, a network for processors, not for PP-TSM")
    similar = "how much clips of one recording look alike, 1: the same; they stay in one split; 0: nobody looks"
    add("--similar", type=share, metavar="0..1", help=f"{similar} (default: 0.95; with --annotations 0)")
    args = parser.parse_args()
    args.similar = (0 if args.annotations else 0.95) if args.similar is None else args.similar
    for flag in ("split", "group", "extend"):
        if args.annotations and getattr(args, flag):
            raise InputError(f"--{flag}: the annotations say which clip is in which split")
    if args.extend and args.folds:
        raise InputError(f"--folds {args.folds}: folds are dealt anew: not with --extend")
    shares = args.split or (1, 0, 0)
    if not (shares[0] > 0 and min(shares) >= 0 and math.isclose(sum(shares), 1, abs_tol=1e-6)):
        given = " ".join(f"{share:g}" for share in shares)
        raise InputError(f"--split {given}: expected three shares that add up to 1, some for TRAIN")
    return args
