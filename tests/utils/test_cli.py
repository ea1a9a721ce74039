"""How a script ends: exit code, stderr, and signals that let it clean up."""

import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT

PROGRAM = """
import os, signal, sys, time
from utils.cli import run
from utils.errors import InputError, RunError
def main():
    try:
        {body}
    finally:
        print("cleaned up", flush=True)
if __name__ == "__main__":
    run(main)
"""


def start(tmp_path, body: str) -> subprocess.Popen:
    (tmp_path / "program.py").write_text(PROGRAM.format(body=body))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, env=environment, **pipes)


@pytest.mark.parametrize(
    "body, code, stderr",
    [
        ("pass", 0, ""),
        ("raise InputError('x.yaml:3: what is wrong')", 2, "error: x.yaml:3: what is wrong\n"),
        ("raise RunError('disk full')", 1, "error: disk full\n"),
        ("raise InputError('one\\ntwo')", 2, "error: one two\n"),
        ("raise InputError('no text: \\udcff')", 2, "error: no text: \\udcff\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, "terminated\n"),
        ("print('\\udcff')", 0, ""),
    ],
)
def test_exit_codes(tmp_path, body, code, stderr):
    process = start(tmp_path, body)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (code, stderr)
    assert out.endswith("cleaned up\n")


def test_a_defect_keeps_its_traceback(tmp_path):
    process = start(tmp_path, "1 / 0")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1 and "Traceback" in err and "ZeroDivisionError" in err


def test_a_reader_of_the_output_that_goes_away_is_no_error(tmp_path):
    process = start(tmp_path, "[print('x' * 1000) for _ in range(10000)]")
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(20) == 141
    process.stderr.close()


def test_a_second_sigterm_does_not_cut_the_clean_up_short(tmp_path):
    body = "\n        ".join(
        ["try:", "    print('ready', flush=True); time.sleep(20)", "finally:", "    time.sleep(1)"]
    )
    process = start(tmp_path, body)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, "cleaned up\n", "terminated\n")
