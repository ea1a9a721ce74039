"""Build the commands to type next, so that they work in the user's folder."""

import os
import shlex
import shutil
import sys
from pathlib import Path

_TOOLKIT = Path(__file__).resolve().parents[1]


def to_type(script: str, *words: str) -> str:
    """Return a shell line that runs a script of the toolkit with the current interpreter.

    script: its path inside the toolkit, for example data/check.py.
    """
    here = Path.cwd()
    interpreter = sys.executable
    if shutil.which("python") == interpreter:
        interpreter = "python"
    elif Path(interpreter).is_relative_to(here):
        interpreter = os.path.relpath(interpreter)
    path = script if here == _TOOLKIT else str(_TOOLKIT / script)
    return shlex.join([interpreter, path, *words])
