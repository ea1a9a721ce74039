"""The scripts in one process that stays: a run costs its own work, and not one more `import paddle`, which costs more.

For runs whose process is not what a test is about. A script finds there what those before it have left, and may not
mind. Not for export.py, which wants another graph format of paddle than the others.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]


class WarmProcess:
    """Call it like `run_script`. A context manager."""

    def __enter__(self) -> "WarmProcess":
        command, environment = [sys.executable, __file__], {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate()  # it ends with its input

    def __call__(self, script: str, *flags: str) -> subprocess.CompletedProcess:
        """`python SCRIPT.py FLAGS` as it would have ended, with its stdout and stderr as text."""
        arguments = [script, *map(str, flags)]
        limit = threading.Timer(120, self._process.kill)
        limit.start()
        try:
            print(json.dumps(arguments), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        finally:
            limit.cancel()
        return subprocess.CompletedProcess(arguments, *json.loads(answer))


def serve() -> None:
    """Runs the lines of stdin, each [script, flags ...], and answers each with [exit code, stdout, stderr]."""
    lines, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in lines:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            os.dup2(out.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            code = end(*json.loads(line))
            sys.stdout.flush()
            said = [os.pread(file.fileno(), 10**8, 0).decode(errors="surrogateescape") for file in (out, errors)]
        print(json.dumps([code, *said]), file=answers, flush=True)


def end(script: str, *flags: str) -> int:
    """The exit code with which the script ended."""
    from utils.cli import exit_code

    sys.argv = [str(ROOT / f"{script}.py"), *flags]
    try:
        return exit_code(importlib.import_module(script).main)
    except SystemExit as ended:
        return ended.code
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    serve()
