"""tools/repeat.py in this process, with narrow scripts that are forks, see fork_server.py."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import run_narrow
from tools import repeat, repeated_runs


@pytest.fixture
def run_repeat(monkeypatch, capsys) -> Callable[..., str]:
    """Provide a function that runs repeat.py with flags. It returns the output of the scripts and then repeat.py's.

    only: a script whose flags lack this text fails at once. The function's `said` is the output of the scripts.
    """

    def call(*flags: str, only: str = "") -> str:
        call.said = ""

        def run_script(script: str, arguments: list[str]) -> int:
            if only not in " ".join(arguments):
                return 1
            ended = run_narrow(script.removesuffix(".py"), *arguments, cwd=Path.cwd())
            call.said += ended.stdout + ended.stderr
            return ended.returncode

        monkeypatch.setattr(repeated_runs, "run_script", run_script)
        monkeypatch.setattr(sys, "argv", ["tools/repeat.py", *flags])
        repeat.main()
        return call.said + capsys.readouterr().out

    return call
