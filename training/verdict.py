"""Say what validation results mean, compared with chance and given the number of videos."""

from collections import Counter
from collections.abc import Sequence

from metrics.sums import wilson
from reader.labels import Label, ids_of
from training.manifest import Progress

WIDE = 20.0  # points: with a wider interval, epochs cannot be told apart


def verdict(
    top1: float, videos: int, labels: Sequence[int | None], num_classes: int, trained: float | None = None
) -> list[str]:
    """Return lines about a top-1 accuracy in percent over `videos` videos.

    labels: of the validation list. Chance is the accuracy of always naming their most frequent class, or
    1 / num_classes if a label is None (unknown). trained: the accuracy of the last whole epoch on the training videos.
    """
    counts = Counter(labels)
    chance = 100 / num_classes if None in counts else 100 * max(counts.values()) / len(labels)
    low, high = wilson(top1 * videos / 100, videos)
    line = f"top1_acc {top1:.2f} of {videos} validation videos: {low:.2f} to {high:.2f} with 95% confidence"
    lines = [f"{line}; always answering one class gives {chance:.2f}"]
    if high - low > WIDE:
        lines.append(
            f"{videos} validation videos are too few to choose by: differences below about "
            f"{(high - low) / 2:.0f} points may be noise; use some hundreds"
        )
    if low <= chance:
        lines.append(f"on these {videos} videos it is no better than always answering one class")
    if trained is not None:
        lines.append(
            f"training top1_acc of the last epoch {trained:.2f}, {trained - top1:+.2f} points from validation; "
            f"chance is {100 / num_classes:.2f}"
        )
    return lines


def _verdict_of_many(
    mean: float, videos: int, labels: Sequence[Label | None], num_classes: int, trained: float | None = None
) -> list[str]:
    """Return lines about an mAP in percent. trained: the training videos' F1 in percent.

    In a random order a class's average precision is about its share of the videos.
    """
    counts = Counter(one for label in labels for one in ids_of(label))
    chance = 100 * sum(counts.values()) / max(len(labels) * len(counts), 1)
    lines = [
        f"mAP {mean:.2f} of {videos} validation videos, the mean over {len(counts)} of {num_classes} classes; "
        f"a random order gives about {chance:.2f}"
    ]
    if trained is not None:
        lines.append(f"training f1 of the last epoch {trained:.2f}, with the classes of probability 0.5 or more")
    return lines


VERDICTS = {"single": verdict, "multi": _verdict_of_many}


def out_of_patience(progress: Progress, patience: int, metric: str = "top1_acc") -> str:
    """Return a line if `patience` validations brought no better one and training ends, otherwise ''."""
    if not patience or progress.not_better < patience:
        return ""
    return (
        f"training ends after {progress.epoch} epochs: {progress.not_better} validations without a better one than "
        f"{metric} {progress.best_top1:.2f} of epoch {progress.best_epoch} (TRAIN.patience {patience})"
    )
