"""The results of long work in a process, which is ended if it hangs or if nobody wants more results."""

import os

import pytest

from reader.integrity import VideoError
from reader.streams import StreamProcess
from stream_work import FAULTS, work


@pytest.fixture(scope="module")
def process():
    with StreamProcess(1.2, work) as process:
        list(process.results("clip.mp4", work, "steady"))  # it has started
        yield process


def test_signs_of_life_keep_it_going(process):
    assert list(process.results("clip.mp4", work, "steady"))[1:] == ["done"]  # longer than the limit


@pytest.mark.parametrize(
    "what, kind, message",
    [
        *FAULTS,
        ("hang", VideoError, "clip.mp4: given up after 1.2 s without progress"),
        ("die", VideoError, "clip.mp4: its reader process ended with signal 9 (Killed)"),
    ],
)
def test_failures(process, what, kind, message):
    results = process.results("clip.mp4", work, what)
    next(results)
    with pytest.raises(kind) as error:
        list(results)
    assert str(error.value).startswith(message)


def test_whoever_stops_ends_the_process(process):
    results = process.results("clip.mp4", work, "steady")
    number = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
