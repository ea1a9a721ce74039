"""Commands to type next, as they work where the user stands."""

import os
import shlex
import shutil
import sys
from pathlib import Path

_TOOLKIT = Path(__file__).resolve().parents[1]


def to_type(script: str, *words: str) -> str:
    """Return the line for a shell that runs a script of the toolkit with the interpreter that runs now.

    script: its path from the toolkit on, such as data/check.py.
    """
    here = Path.cwd()
    interpreter = sys.executable
    if shutil.which("python") == interpreter:
        interpreter = "python"
    elif Path(interpreter).is_relative_to(here):
        interpreter = os.path.relpath(interpreter)
    path = script if here == _TOOLKIT else str(_TOOLKIT / script)
    return shlex.join([interpreter, path, *words])
