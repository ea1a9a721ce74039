"""Signals to a real program: they leave no reader process behind, and nothing in /dev/shm."""

import os
import re
import signal
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from conftest import ROOT, forgotten, frame_pickle, memory_files, processes, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks processes up in /proc")

# Reads a list whose last two videos are pipes to which nobody writes.
PROGRAM = """
import sys
from reader.clip import ClipSpec
from reader.filelist import Entry
from reader.loader import Loader
from utils.cli import run

def main():
    entries = [Entry(path, 0) for path in sys.argv[1:]]
    spec = ClipSpec(2, 1, 36, 32, frame_format="pkl")
    with Loader(entries, spec, 1, num_classes=4, num_workers=2) as loader:
        for batch in loader.batches():
            print("read", batch.indices, flush=True)

if __name__ == "__main__":
    run(main)
"""


def opened(fifo: Path) -> BinaryIO | None:
    """Return the writing end once a process reads, which has then finished its imports; None before that."""
    try:
        return open(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK), "wb", 0)
    except OSError:
        return None


@pytest.fixture
def program(tmp_path):
    """Provide (program, its mark, earlier files in /dev/shm): it has read one video and waits for two others."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "0.pkl").write_bytes(frame_pickle(0))
    for i in (1, 2):
        os.mkfifo(tmp_path / f"{i}.pkl")
    mark = f"PROCESS_MARK={uuid.uuid4()}"
    shared = memory_files()
    process = subprocess.Popen(
        [sys.executable, "program.py", *(f"{i}.pkl" for i in range(3))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **dict([mark.split("=")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal makes one for Ctrl-C
    )
    held = ExitStack()
    try:
        assert process.stdout.readline() == "read [0]\n"
        wait_until(lambda: len(processes(mark)) >= 4)  # the program, two readers, Python's resource tracker
        for i in (1, 2):
            held.enter_context(wait_until(lambda i=i: opened(tmp_path / f"{i}.pkl")))
        yield process, mark, shared
    finally:
        process.kill()
        process.communicate()
        held.close()


@pytest.mark.parametrize(
    "number, whole_group, code, stderr",
    [
        (signal.SIGTERM, False, 143, "terminated\n"),
        (signal.SIGINT, False, 130, "interrupted\n"),
        (signal.SIGINT, True, 130, "interrupted\n"),  # Ctrl-C in a terminal
        (signal.SIGTERM, True, 143, "terminated\n"),
        (signal.SIGKILL, False, -signal.SIGKILL, ""),
    ],
)
def test_a_signal_ends_the_program_and_its_readers(program, number, whole_group, code, stderr):
    process, mark, shared = program
    readers = [pid for pid in processes(mark) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(readers) == 2
    for pid in readers:  # a Ctrl-C does not reach them
        blocked = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1]
        assert int(blocked, 16) & 1 << (signal.SIGINT - 1)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    assert process.wait(60) == code
    wait_until(lambda: processes(mark) == [])
    assert re.fullmatch(stderr, process.stderr.read())
    wait_until(lambda: not forgotten(shared))
