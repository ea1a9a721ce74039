"""What MODEL.labels changes about answers: one class a video by softmax, or each class by itself by sigmoid.

A row of an evaluation of many labels has "labels": the ids of the video's classes, "probabilities" of all K classes,
and "loss": the binary cross-entropy in nats, the mean over the classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from inference.rows import EVALUATION, NONE, NONE_ID, RowKind, Values, evaluations_of, top_predictions
from metrics.accuracy import Accuracy
from metrics.many import THRESHOLD, ManyScores, binary_cross_entropy, sigmoid

MANY_EVALUATION = RowKind("evaluation", "evaluation", ("labels", "probabilities", "loss"))


def classes_above(
    logits: np.ndarray,
    names: Sequence[str],
    k: int | None = None,
    threshold: float = 0.0,
    thresholds: Sequence[float] | None = None,
) -> list[list[dict]]:
    """For each video of logits [N, K] the classes that are as probable as their thresholds, the most probable first.

    k: at most so many. threshold: of all classes, in place of `thresholds`; neither: THRESHOLD. Where no class is,
    NONE, whose probability is what the most probable one's is from 1.

    Raises:
        RunError: a logit is not finite.
    """
    probabilities = sigmoid(logits)
    least = np.array(threshold or thresholds or THRESHOLD, np.float32)
    found = []
    for row, above in zip(probabilities, probabilities >= least):
        order = [int(c) for c in np.argsort(-row, kind="stable") if above[c]][:k]
        best = [{"class_id": c, "label": names[c], "probability": _short(row[c])} for c in order]
        found.append(best or [{"class_id": NONE_ID, "label": NONE, "probability": 1 - _short(row.max())}])
    return found


def _short(probability: np.float32) -> float:
    """The probability with as many digits as tell float32 apart."""
    return float(f"{probability:.9g}")


def many_evaluations_of(names: Sequence[str]) -> Values:
    """The values of MANY_EVALUATION, of labels uint8 [N, K]. They raise RunError when a logit is not finite."""

    def values(logits: np.ndarray, labels: np.ndarray) -> list[dict]:
        probabilities = sigmoid(logits)
        return [
            {"labels": np.flatnonzero(true).tolist(), "probabilities": [*map(_short, row)], "loss": float(loss)}
            for true, row, loss in zip(labels, probabilities, binary_cross_entropy(logits, labels))
        ]

    return values


@dataclass(frozen=True)
class LabelKind:
    """How answers are made, and what is counted of them."""

    metric: str  # of `sums`: by this validation chooses the best epoch
    evaluation: RowKind
    evaluations_of: Callable[[Sequence[str]], Values]
    sums: Callable[[int], Accuracy | ManyScores]  # of the number of classes; takes the rows of a validation
    # (logits [N, K], names, k, threshold, thresholds of the classes) -> of each video its classes
    predictions: Callable[..., list[list[dict]]]
    thresholds: Callable[..., tuple[float, ...]]  # of the classes, that a validation's sums choose; of one label none
    # Of a video's predictions those that are its answer.
    answer: Callable[[Sequence[dict]], Sequence[dict]]


def _top(logits, names, k=None, threshold=0.0, thresholds=None) -> list[list[dict]]:
    return top_predictions(logits, names, k, threshold)


KINDS = {
    "single": LabelKind(
        "top1_acc", EVALUATION, evaluations_of, Accuracy.of, _top, lambda sums: (), lambda best: best[:1]
    ),
    "multi": LabelKind(
        "mAP",
        MANY_EVALUATION,
        many_evaluations_of,
        ManyScores,
        classes_above,
        lambda sums: tuple(sums.thresholds()),
        lambda best: best,
    ),
}
