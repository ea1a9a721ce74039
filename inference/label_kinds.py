"""The two kinds of answers, chosen by MODEL.labels: one class per video (softmax), or each class alone (sigmoid).

With many labels, an evaluation's row has "labels", the ids of the video's classes; "probabilities" of all K classes;
and "loss", the mean over the classes of the binary cross-entropy in nats.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from inference.rows import EVALUATION, NONE, NONE_ID, RowKind, Values, evaluations_of, top_predictions
from metrics.accuracy import Accuracy, probabilities
from metrics.many import THRESHOLD, ManyScores, binary_cross_entropy, sigmoid

MANY_EVALUATION = RowKind("evaluation", "evaluation", ("labels", "probabilities", "loss"))


def classes_above(
    logits: np.ndarray,
    names: Sequence[str],
    k: int | None = None,
    threshold: float = 0.0,
    thresholds: Sequence[float] | None = None,
) -> list[list[dict]]:
    """Return the classes that reach their thresholds, most probable first, for each video of logits [N, K].

    k: return at most k classes. threshold: one for all classes, in place of `thresholds`; without either: THRESHOLD.
    If no class reaches its threshold, return NONE, with 1 minus the highest probability.

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
    """Return the probability rounded to as many digits as distinguish float32 numbers."""
    return float(f"{probability:.9g}")


def many_evaluations_of(names: Sequence[str]) -> Values:
    """Return the Values of MANY_EVALUATION for labels uint8 [N, K]. They raise RunError if a logit is not finite."""

    def values(logits: np.ndarray, labels: np.ndarray) -> list[dict]:
        probabilities = sigmoid(logits)
        return [
            {"labels": np.flatnonzero(true).tolist(), "probabilities": [*map(_short, row)], "loss": float(loss)}
            for true, row, loss in zip(labels, probabilities, binary_cross_entropy(logits, labels))
        ]

    return values


def headline(answer: Sequence[dict]) -> str:
    """Return the labels of an answer as one text."""
    return " + ".join(found["label"] for found in answer)


# logits [N, K], k -> the classes of each video; k: at most this many, None: as the section says
Naming = Callable[..., list[list[dict]]]


@dataclass(frozen=True)
class LabelKind:
    """The functions that make answers, and the sums over them, for one kind of labels."""

    metric: str  # the mean in `sums` by which validation chooses the best epoch
    evaluation: RowKind
    evaluations_of: Callable[[Sequence[str]], Values]
    sums: Callable[[int], Accuracy | ManyScores]  # number of classes -> sums, which take the rows of a validation
    chosen: Callable[..., tuple[float, ...]]  # sums -> the thresholds of the classes; () for single labels
    # (names, topk of the section, threshold, thresholds of the network) -> Naming
    naming: Callable[[Sequence[str], int, float, Sequence[float] | None], Naming]
    answer: Callable[[Sequence[dict]], Sequence[dict]]  # a video's predictions -> those that are its answer
    probabilities: Callable[[np.ndarray], np.ndarray]  # logits [N, K] -> probabilities [N, K]
    logits_of: Callable[[np.ndarray], np.ndarray]  # probabilities [N, K] -> logits, float64 [N, K]


def told(kind: LabelKind, predictions: Sequence[dict]) -> Sequence[dict]:
    """Return the predictions to show on a line or in a frame: the whole answer, and at least the three best."""
    return predictions[: max(3, len(kind.answer(predictions)))]


# The smallest normal float32, in place of a probability of 0, whose logarithm is not finite.
_TINY = float(np.finfo(np.float32).tiny)


def _logits_of_one(found: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(found, _TINY))


def _logits_of_many(found: np.ndarray) -> np.ndarray:
    # 1e-12 is below the gap between 1 and any other float32, and keeps the logit of a 1 finite.
    return _logits_of_one(found) - np.log(np.maximum(1 - found, 1e-12))


ONE = LabelKind(
    metric="top1_acc",
    evaluation=EVALUATION,
    evaluations_of=evaluations_of,
    sums=lambda num_classes: Accuracy(num_classes=num_classes),
    chosen=lambda sums: (),
    naming=lambda names, topk, threshold, thresholds: (
        lambda logits, k=None: top_predictions(logits, names, k or topk, threshold)
    ),
    answer=lambda predictions: predictions[:1],
    probabilities=probabilities,
    logits_of=_logits_of_one,
)
MANY = LabelKind(
    metric="mAP",
    evaluation=MANY_EVALUATION,
    evaluations_of=many_evaluations_of,
    sums=ManyScores,
    chosen=lambda sums: tuple(sums.thresholds()),
    naming=lambda names, topk, threshold, thresholds: (
        lambda logits, k=None: classes_above(logits, names, k, threshold, thresholds)
    ),
    answer=lambda predictions: predictions,
    probabilities=sigmoid,
    logits_of=_logits_of_many,
)
KINDS = {"single": ONE, "multi": MANY}
