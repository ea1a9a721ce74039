"""The rows that a journal keeps: each video's answer, or the reason why there is none.

A row is {"position": in the list, from 0, "video": its path, "file": the signature of the file that was read
(utils/storage/stamps.py)}, and "error" or the columns of its kind:
PREDICTION  "predictions": the best classes, best first
EVALUATION  "label", "predicted_class", "predicted_name", "probability" of that, "rank" (1: the best) and
            "true_probability" of the label's class, "loss" in nats
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter, or_

import numpy as np

from inference.pipeline import Answering, answers
from inference.views import Output
from metrics.accuracy import check_finite, log_softmax, probabilities, top_classes, true_class_rank
from reader.filelist import Entry
from reader.loader import Batch, Loader


@dataclass(frozen=True)
class RowKind:
    """A kind of rows."""

    files: str  # the name of the files that keep them
    work: str  # the name of the work that computes them
    columns: tuple[str, ...]  # of a readable video's row, after `position`, `video` and `file`


PREDICTION = RowKind("predictions", "prediction", ("predictions",))
EVALUATION = RowKind(
    "evaluation",
    "evaluation",
    ("label", "predicted_class", "predicted_name", "probability", "rank", "true_probability", "loss"),
)

# logits [N, K], labels int64 [N] -> for each video its row's columns after `position`, `video` and `file`
Values = Callable[[np.ndarray, np.ndarray], list[dict]]

# The answer for a video whose best class is less probable than --threshold.
NONE_ID, NONE = -1, "none"


def top_predictions(logits: np.ndarray, names: Sequence[str], k: int, threshold: float = 0.0) -> list[list[dict]]:
    """Return the k best classes, best first, of each video of logits [N, K]: class_id, label, probability.

    If the best class is less probable than `threshold`, NONE precedes it, with 1 minus the best probability.

    Raises:
        RunError: a logit is not finite.
    """
    found = [
        [{"class_id": int(c), "label": names[c], "probability": float(row[c])} for c in classes]
        for row, classes in zip(probabilities(logits), top_classes(logits, k))
    ]
    for best in found:
        if (probability := best[0]["probability"]) < threshold:
            best.insert(0, {"class_id": NONE_ID, "label": NONE, "probability": 1 - probability})
    return found


def predictions_of(naming: Callable[[np.ndarray], list[list[dict]]]) -> Values:
    """Return the Values of PREDICTION.

    naming: from logits [N, K] to the classes of each video, such as `top_predictions`.
    """
    return lambda logits, labels: [{"predictions": best} for best in naming(logits)]


def evaluations_of(names: Sequence[str]) -> Values:
    """Return the Values of EVALUATION. They raise RunError if a logit is not finite."""

    def values(logits: np.ndarray, labels: np.ndarray) -> list[dict]:
        check_finite(logits)
        log_probabilities = log_softmax(logits)
        found = np.exp(log_probabilities)
        columns = labels.tolist(), top_classes(logits, 1)[:, 0].tolist(), true_class_rank(logits, labels).tolist()
        return [
            {
                "label": label,
                "predicted_class": best,
                "predicted_name": names[best],
                "probability": float(found[i, best]),
                "rank": rank,
                "true_probability": float(found[i, label]),
                "loss": 0.0 - float(log_probabilities[i, label]),  # never -0.0
            }
            for i, (label, best, rank) in enumerate(zip(*columns))
        ]

    return values


def compute_rows(
    network: Answering,
    loader: Loader,
    entries: Sequence[Entry],
    values: Values,
    order: Sequence[int],
    keep: Callable[[Batch, Output], None] | None = None,
) -> Iterator[list[dict]]:
    """Yield the rows of each batch of the positions `order`, which are ascending.

    keep: called with each batch and its output before its rows are made.

    Raises:
        RuntimeError: the number of rows differs from that of `order` (a defect, never the user's fault).
    """
    counted = 0
    for batch, output in answers(network, loader.batches(order)):
        if keep is not None:
            keep(batch, output)
        known = [(index, {"file": None, "error": reason}) for index, reason in batch.unreadable]
        if batch.indices:
            files = ({"file": file} for file in batch.files)
            known += zip(batch.indices, map(or_, files, values(output.logits, batch.labels)))
        known.sort(key=itemgetter(0))
        counted += len(known)
        yield [{"position": index, "video": entries[index].path, **rest} for index, rest in known]
    if counted != len(order):
        raise RuntimeError(f"{counted} videos counted of {len(order)}")
