"""A command line whose mistakes end in one line, as everywhere in the toolkit."""

import argparse
import re
from pathlib import Path

from utils.errors import InputError


class Parser(argparse.ArgumentParser):
    """Raises InputError where argparse would print its usage and exit."""

    def __init__(self, script: str, description: str, **options: object):
        super().__init__(prog=f"python {script}", description=description, allow_abbrev=False, **options)

    def error(self, message: str) -> None:
        raise InputError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def count(text: str) -> int:
    """The value of a flag that takes a whole number from 1 up. Raises ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, not {text!r}")
    return int(text)


def seed(text: str) -> int:
    """The value of --seed: a whole number from 0 up. Raises ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 up, not {text!r}")
    return int(text)


def out_folder(text: str) -> Path:
    """The value of a flag that takes a folder. Raises ArgumentTypeError for one that no configuration can name."""
    if any(c < " " or c == "\x7f" for c in text):
        raise argparse.ArgumentTypeError(f"expected a path without control characters, not {text!r}")
    return Path(text)


def expression(text: str) -> re.Pattern:
    """The value of a flag that takes a regular expression. Raises ArgumentTypeError for anything else."""
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {text!r}: {error}") from None
