"""Validation counts each video of the list once, as seen or as unreadable."""

import numpy as np
import pytest

from inference.views import Output
from metrics.accuracy import Accuracy
from reader.dataset import ClipSpec
from reader.filelist import Entry
from reader.loader import Batch, Loader
from training.validation import validate
from utils.errors import RunError
from utils.processes.ranks import World


@pytest.fixture(scope="module")
def entries(workspace):
    return [Entry(str(path), label) for path, label in workspace.videos]


def open_loader(entries) -> Loader:
    return Loader(entries, ClipSpec(2, 1, 36, 32), 2, num_classes=4, num_workers=1)


@pytest.fixture(scope="module")
def loader(entries):
    """Provide a running loader. A test sets its batch_size."""
    with open_loader(entries) as running:
        yield running


class Plain:
    """A network without features. logits: a function of the frames."""

    ahead = 0

    def __init__(self, logits):
        self.logits = logits

    def start(self, frames: np.ndarray):
        return lambda: Output(self.logits(frames), np.empty((len(frames), 1, 0)))


@Plain
def reads_the_colour(frames: np.ndarray) -> np.ndarray:
    """Return logits [N, 4] from the colour of the moving square, right for every clip."""
    red, green, blue = (frames[..., c].astype(float) > 220 for c in range(3))
    return np.stack([(red & ~green).sum((1, 2, 3)), (green & ~red).sum((1, 2, 3)), blue.sum((1, 2, 3)),
                     (red & green).sum((1, 2, 3))], axis=1).astype(np.float32) / 100  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 3, 4, 64])
def test_sums_do_not_depend_on_the_batch_size(entries, loader, batch_size):
    calls, loader.batch_size = [], batch_size
    result = validate(reads_the_colour, loader, entries, 4, World(), lambda: calls.append(1))
    assert (result.accuracy.videos, result.accuracy.top1, result.unreadable) == (10, 10, [])
    assert len(calls) == -(-10 // batch_size) and result.waited > 0


def test_unreadable_videos_do_not_count_in_the_accuracy(entries):
    bad = [Entry("none.mp4", 0) if i in (0, 1, 7) else e for i, e in enumerate(entries)]
    with open_loader(bad) as reader:
        result = validate(reads_the_colour, reader, bad, 4, World(), lambda: None)
    assert (result.accuracy.videos, result.accuracy.top1) == (7, 7)
    assert result.unreadable == [(i, "no such file") for i in (0, 1, 7)]


def test_a_video_that_gets_lost_is_an_error():
    class Losing:
        batch_size = 1

        def batches(self, order):
            yield Batch(np.zeros((1, 2, 4, 4, 3), np.uint8), np.zeros(1, np.int64), [0], files=[None])

    with pytest.raises(RuntimeError, match="1 videos counted of 2"):
        network = Plain(lambda frames: np.zeros((1, 4)))
        validate(network, Losing(), [Entry("a", 0), Entry("b", 0)], 4, World(), lambda: None)


def test_a_broken_network_stops_the_validation(entries, loader):
    network = Plain(lambda frames: np.full((len(frames), 4), np.nan))
    with pytest.raises(RunError, match="not finite"):
        validate(network, loader, entries, 4, World(), lambda: None)


class Gathering(World):
    """A rank whose peers have seen nothing."""

    def all_gather(self, value: object) -> list:
        return [value]


def test_ranks_add_up_and_ask_equally_often(entries, loader):
    parts, calls, loader.batch_size = [], [], 2
    for rank in range(4):
        calls.append(0)

        def asked():
            calls[-1] += 1

        parts.append(validate(reads_the_colour, loader, entries, 4, Gathering(rank, 4), asked).accuracy)
    total = sum(parts, Accuracy())
    assert (total.videos, total.top1, calls) == (10, 10, [2, 2, 2, 2])
