"""A pass over a list: every video counted once, as seen or as unreadable."""

import numpy as np
import pytest

from inference.views import Output
from metrics.accuracy import Accuracy
from metrics.evaluate import evaluate
from reader.dataset import ClipSpec
from reader.filelist import Entry
from reader.loader import Batch, Loader
from utils.errors import RunError


@pytest.fixture
def entries(workspace):
    return [Entry(str(path), label) for path, label in workspace.videos]


def loader(entries, batch_size):
    return Loader(entries, ClipSpec(2, 1, 36, 32), batch_size, num_classes=4, num_workers=0)


class Plain:
    """A network without features, made of a function from frames to logits."""

    ahead = 0

    def __init__(self, logits):
        self.logits = logits

    def start(self, frames: np.ndarray):
        return lambda: Output(self.logits(frames), np.empty((len(frames), 1, 0)))


@Plain
def reads_the_colour(frames: np.ndarray) -> np.ndarray:
    """Logits [N, 4] from the colour of the moving square: right for every clip."""
    red, green, blue = (frames[..., c].astype(float) > 220 for c in range(3))
    return np.stack([(red & ~green).sum((1, 2, 3)), (green & ~red).sum((1, 2, 3)), blue.sum((1, 2, 3)),
                     (red & green).sum((1, 2, 3))], axis=1).astype(np.float32) / 100  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 3, 4, 64])
def test_sums_do_not_depend_on_the_batch_size(entries, batch_size):
    seen = []
    with loader(entries, batch_size) as reader:
        result = evaluate(
            reads_the_colour, reader, range(10), lambda batch, logits, accuracy: seen.append(accuracy.videos)
        )
    assert (result.accuracy.videos, result.accuracy.top1, result.unreadable) == (10, 10, [])
    assert seen == [min(10, n) for n in range(batch_size, 10 + batch_size, batch_size)]


def test_unreadable_videos_are_beside_the_accuracy(entries):
    bad = [Entry("none.mp4", 0) if i in (0, 1, 7) else e for i, e in enumerate(entries)]
    sizes = []
    with loader(bad, 2) as reader:
        result = evaluate(reads_the_colour, reader, range(10), lambda batch, logits, _: sizes.append(logits.shape))
    assert (result.accuracy.videos, result.accuracy.top1) == (7, 7)
    assert result.unreadable == [(i, "no such file") for i in (0, 1, 7)]
    assert sizes == [(0, 1), (2, 4), (2, 4), (1, 4), (2, 4)]


def test_a_part_of_the_list(entries):
    with loader(entries, 4) as reader:
        result = evaluate(reads_the_colour, reader, range(1, 10, 3), lambda *_: None)
    assert result.accuracy.videos == 3


def test_a_video_that_gets_lost_is_an_error():
    class Losing:
        def batches(self, order):
            yield Batch(np.zeros((1, 2, 4, 4, 3), np.uint8), np.zeros(1, np.int64), [0])

    with pytest.raises(RuntimeError, match="1 videos counted of 2"):
        evaluate(Plain(lambda frames: np.zeros((1, 4))), Losing(), range(2), lambda *_: None)


def test_a_broken_network_stops_the_evaluation(entries):
    with loader(entries, 4) as reader, pytest.raises(RunError, match="not finite"):
        evaluate(Plain(lambda frames: np.full((len(frames), 4), np.nan)), reader, range(10), lambda *_: None)


def test_ranks_add_up(entries):
    parts = []
    for rank in range(3):
        with loader(entries, 2) as reader:
            parts.append(evaluate(reads_the_colour, reader, range(rank, 10, 3), lambda *_: None).accuracy)
    total = sum(parts, Accuracy())
    assert (total.videos, total.top1) == (10, 10)
