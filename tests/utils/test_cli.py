"""Test how a script ends: its exit code, its stderr, and the signals that let it clean up."""

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
        ("b' ' * (1 << 62)", 1, "error: there is too little memory\n"),
        (
            "raise MemoryError('fails to get 7\\n  [hint]')",
            1,
            "error: there is too little memory: fails to get 7\n",
        ),
        ("raise InputError('one\\ntwo')", 2, "error: one two\n"),
        ("raise InputError('no text: \\udcff')", 2, "error: no text: \\udcff\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, "terminated\n"),
        ("print('\\udcff')", 0, ""),
        ("raise InputError('a\\x1b[31m\\x9b')", 2, "error: a\\x1b[31m\\x9b\n"),
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


def test_no_name_of_a_file_is_a_command_to_the_terminal(tmp_path):
    process = start(tmp_path, "print('a\\x1b[31m\\x9b\\x7f\\x85\\tb\\n\\u4e2d', end='')")
    out, _ = process.communicate(timeout=20)
    assert out == "a\\x1b[31m\\x9b\\x7f\\x85\tb\n\u4e2dcleaned up\n"


FULL, CLOSED = "/dev/full", "&-"
LOST = "error: the standard output cannot be written: No space left on device\n"
STREAMS = [  # the program, the shell's redirections, the exit code, stderr
    ("print('said')", ">" + CLOSED, 0, ""),
    ("print('said')", ">" + FULL, 1, LOST),
    ("raise SystemExit(3)", ">" + FULL, 1, LOST),
    ("raise SystemExit(3)", "", 3, ""),
    ("raise InputError('wrong')", ">" + CLOSED, 2, "error: wrong\n"),
    ("raise InputError('wrong')", ">" + FULL, 1, LOST),  # `finally` prints
    ("raise InputError('wrong')", "2>" + CLOSED, 2, ""),
    ("raise InputError('wrong')", "2>" + FULL, 2, ""),
    ("[print('x' * 999, file=sys.stderr) for _ in range(99)]", "2>" + FULL, 0, ""),
    ("print('said', file=sys.stderr)", "<&- >&- 2>&-", 0, ""),
    ("sys.stderr.write('\\udcff\\n')", "", 0, "\\udcff\n"),
    # No file gets the number of a closed stream, and so a child's output.
    ("f = open('file', 'w'); os.system('echo child'); assert os.stat('file').st_size == 0", "<&- >&-", 0, ""),
    ("raise OSError(28, 'a defect')", "", 1, None),
]


@pytest.mark.skipif(not os.path.exists(FULL), reason="needs /dev/full")
@pytest.mark.parametrize("body, streams, code, stderr", STREAMS)
def test_streams_that_are_closed_or_full(tmp_path, body, streams, code, stderr):
    (tmp_path / "program.py").write_text(PROGRAM.format(body=body))
    command = ["bash", "-c", f'"$0" program.py {streams}', sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20)
    assert process.returncode == code, process.stderr
    if stderr is None:
        assert process.stderr.endswith("OSError: [Errno 28] a defect\n")
    else:
        assert process.stderr == stderr


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
