"""The lines about the best validation result, with intervals computed elsewhere."""

import pytest

from training.verdict import VERDICTS, verdict

TOO_FEW = "{} validation videos are too few to choose by: differences below about {} points may be noise"
CASES = [
    (50.0, 10, [0, 1] * 5, 2, ("23.66 to 76.34", "50.00", True), TOO_FEW.format(10, 26)),
    (40.0, 40, [0, 1, 2, 3, 4, 5, 6, 7] * 5, 8, ("26.35 to 55.40", "12.50", False), TOO_FEW.format(40, 15)),
    (90.0, 10, [0] * 9 + [1], 2, ("59.58 to 98.21", "90.00", True), TOO_FEW.format(10, 19)),
    (75.0, 19_881, [0, 1, 2, 3] * 5_000, 400, ("74.39 to 75.60", "25.00", False), ""),
    (30.0, 2_000, [0, 1, 2] * 1_000, 3, ("28.03 to 32.05", "33.33", True), ""),
    # Pickles, whose labels are inside the files.
    (60.0, 500, [None] * 500, 4, ("55.65 to 64.20", "25.00", False), ""),
]


@pytest.mark.parametrize(("top1", "videos", "labels", "classes", "said", "more"), CASES)
def test_what_is_said(top1, videos, labels, classes, said, more):
    line, *others = verdict(top1, videos, labels, classes)
    between, chance, no_better = said
    assert line.startswith(f"top1_acc {top1:.2f} of {videos} validation videos: {between} with 95% confidence")
    assert line.endswith(f" gives {chance}")
    expected = [more] * bool(more) + [f"on these {videos} videos it is no better than always answering"] * no_better
    assert all(other.startswith(start) for other, start in zip(others, expected, strict=True))


def test_training_stands_beside_validation():
    *lines, last = verdict(50.0, 10, [0, 1] * 5, 2, 97.5)
    assert lines == verdict(50.0, 10, [0, 1] * 5, 2)
    assert last == ("training top1_acc of the last epoch 97.50, +47.50 points from validation; chance is 50.00")


@pytest.mark.parametrize("kind, label", [("single", 7), ("multi", (3, 7))])
def test_lines_fit_the_terminal(kind, label):
    lines = VERDICTS[kind](51.23, 123_456, [label] * 100_000 + [label] * 23_456, 1000, 100.0)
    lines += VERDICTS[kind](5.0, 12, [label] * 12, 1000, 100.0)
    assert max(map(len, lines)) <= 120


def test_many_labels():
    """Four videos with five labels of three classes."""
    line, trained = VERDICTS["multi"](62.5, 4, [(0, 1), (0,), (2,), (1,)], 4, 81.25)
    assert line.startswith("mAP 62.50 of 4 validation videos, the mean over 3 of 4 classes; ") and "41.67" in line
    assert trained.startswith("training f1 of the last epoch 81.25, ")
