"""One answer from a process, or the error that says whose fault it is that there is none."""

import os
import subprocess
import sys
from multiprocessing import Pipe

import numpy as np
import pytest

from conftest import ROOT
from reader.apart import Unanswered, VideoProcess, fault, send
from stream_work import FAULTS, answer
from utils.errors import RunError


@pytest.fixture(scope="module")
def process():
    with VideoProcess(answer, 1.2, needs="colorsys") as process:
        yield process


def test_what_it_needs_is_there_before_it_is_asked(process):
    process.start()
    assert process.answer("clip.mp4", "module") and process.answer("clip.mp4", "pid") == process.pid


@pytest.mark.parametrize(
    "what, kind, message",
    [
        *FAULTS,
        ("lambda", RunError, "clip.mp4: "),
        ("hang", Unanswered, "clip.mp4: given up after 1.2 s"),
        ("die", Unanswered, "clip.mp4: its reader process ended with signal 9 (Killed), twice"),
    ],
)
def test_failures(process, what, kind, message):
    number = process.answer("clip.mp4", "pid")
    with pytest.raises(kind) as error:
        process.answer("clip.mp4", what)
    assert str(error.value).startswith(message) and type(error.value) is kind
    if kind is not Unanswered:
        assert process.answer("clip.mp4", "pid") == number  # it goes on


def test_a_failure_of_the_video_alone_is_its_reason(process):
    assert process.failure("clip.mp4", "video") == "damaged"
    assert process.failure("clip.mp4", "pid") is None
    with pytest.raises(RunError, match="^disk full$"):
        process.failure("clip.mp4", "run")


def test_leaving_it_ends_the_process():
    with VideoProcess(answer) as process:
        number = process.answer("clip.mp4", "pid")
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_an_error_without_words_of_the_system():
    assert str(fault("clip.mp4", OSError("no space"))) == "clip.mp4: no space"


def test_an_array_arrives_as_it_was_and_can_be_written_to():
    ours, theirs = Pipe()
    clip = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    send(theirs, (clip, None))
    found, _ = ours.recv()
    found += 1
    assert (found == clip + 1).all()


def test_who_asks_imports_nothing_that_decodes():
    modules = "reader.workers, reader.streams, reader.loader, data.lists.soundness"
    program = f"import sys, {modules}; sys.exit('av' in sys.modules or 'reader.dataset' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
