"""Videos with several classes: in lists, in memory and in batches."""

import numpy as np
import pytest

from reader.clip import ClipSpec
from reader.filelist import Entry, FileList, read_list
from reader.labels import LABELS, ManyClasses, OneClass, mirrored
from reader.loader import Loader
from utils.errors import InputError


@pytest.mark.parametrize(
    "line, path, label",
    [
        ("a.mp4 3", "a.mp4", (3,)),
        ("a.mp4 3,1,2", "a.mp4", (1, 2, 3)),
        ("a.mp4 3 1 2", "a.mp4", (1, 2, 3)),  # mmaction2
        ("a.mp4\t3, 1", "a.mp4", (1, 3)),
        ("my clips/b 12.mp4 0,3", "my clips/b 12.mp4", (0, 3)),
        ("clip7 3,1", "clip7", (1, 3)),
        ("a.mp4 1 1,1", "a.mp4", (1,)),
    ],
)
def test_lines_of_many_labels(tmp_path, line, path, label):
    (tmp_path / "a.list").write_text(f"{line}\n")
    for needs_label in (True, False):
        entries = read_list(str(tmp_path / "a.list"), num_classes=4, labels="multi", needs_label=needs_label)
        assert entries == [Entry(path, label, 1)]


@pytest.mark.parametrize(
    "line, labels, message",
    [
        ("a.mp4", "multi", "1: expected 'path label,label,...', got 'a.mp4'"),
        ("3 1", "single", None),  # a file called 3
        ("31", "multi", "1: expected 'path label,label,...', got '31'"),
        ("a.mp4 -1", "multi", "1: expected 'path label,label,...', got 'a.mp4 -1'"),
        ("a.mp4 cat,dog", "multi", "1: expected 'path label,label,...', got 'a.mp4 cat,dog'"),
        ("a.mp4 1,4", "multi", "1: label 4 is outside 0..3 (num_classes is 4)"),
        (
            "a.mp4 1,3",
            "single",
            "1: expected 'path label', got 'a.mp4 1,3': several classes need --set MODEL.labels=multi",
        ),
    ],
)
def test_lines_that_are_refused(tmp_path, line, labels, message):
    (tmp_path / "a.list").write_text(f"{line}\n")
    if message is None:
        assert read_list(str(tmp_path / "a.list"), num_classes=4, labels=labels)[0].label == 1
        return
    with pytest.raises(InputError) as error:
        read_list(str(tmp_path / "a.list"), num_classes=4, labels=labels)
    assert str(error.value).startswith(f"{tmp_path / 'a.list'}:{message}")


@pytest.mark.parametrize(
    "line, labels, expected",
    [
        ("f 120 3", "single", ("f", "120", 3)),
        ("f 120", "single", ("f", "120", None)),
        ("f 120 3,1", "multi", ("f", "120", (1, 3))),
        ("f 120 3 1", "multi", ("f", "120", (1, 3))),
        ("f 120", "multi", ("f", "120", None)),
        ("f", "multi", ("f", None, None)),
    ],
)
def test_lines_of_folders(line, labels, expected):
    assert LABELS[labels].split_folder(line) == expected


def test_a_list_keeps_labels_of_any_number():
    entries = [Entry("a", (0, 2), 1), Entry("b", 1, 2), Entry("c", None, 3), Entry("d", (7,), 4), Entry("e", (), 5)]
    kept = FileList(entries)
    assert kept == entries and kept[2:] == entries[2:] and kept[3].label == (7,)
    others = [FileList([Entry("a", label)]) for label in ((0, 1), (0, 2), (0,), 0, None)]
    assert len({each.digest for each in others}) == len({each.label_digest for each in others}) == 5


def test_what_a_batch_holds():
    assert ManyClasses(4).batch([(0, 3), (2,), ()]).tolist() == [[1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert ManyClasses(4).batch([(1,)]).dtype == np.uint8 and ManyClasses(None).batch([(1,), None]).shape == (2, 0)
    assert OneClass(4).batch([3, None]).tolist() == [3, -1]


def test_a_mirror_exchanges_each_label():
    mirrors = {0: 1, 1: 0}
    assert [mirrored(label, mirrors) for label in ((0, 2), (0, 1), (2,), 0, 2)] == [(1, 2), (0, 1), (2,), 1, 2]


def test_a_loader_of_many_labels(workspace):
    entries = [Entry(str(path), (label, 3) if label < 3 else (3,)) for path, label in workspace.videos[:3]]
    with Loader(entries, ClipSpec(2, 1, 36, 32), 3, num_classes=4, num_workers=1, labels="multi") as loader:
        [batch] = loader.batches()
    assert batch.labels.tolist() == [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]]
