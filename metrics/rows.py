"""What is known of each video, as rows: of a batch of answers, and of a whole pass that a journal keeps.

A row is {"position": in the list, from 0, "video": its path}, and "error" or what its kind has:
PREDICTION  "predictions": the best classes, best first
EVALUATION  "label", "predicted_class", "predicted_name", "probability" of that, "rank" (1: the best) and
            "true_probability" of the label's class, "loss" in nats
"""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

import numpy as np

from inference.pipeline import Network, answers
from metrics.accuracy import check_finite, log_softmax, top_classes, true_class_rank
from metrics.journal import Journal
from metrics.report import top_predictions
from reader.filelist import Entry
from reader.loader import Batch, Loader
from utils.log import progress_bar

PREDICTION = ("predictions",)
EVALUATION = ("label", "predicted_class", "predicted_name", "probability", "rank", "true_probability", "loss")

# logits [N, K], labels int64 [N] -> of each video what its row has behind `position` and `video`
Values = Callable[[np.ndarray, np.ndarray], list[dict]]


def predictions_of(names: Sequence[str], k: int) -> Values:
    """The values of PREDICTION, of the k best classes."""
    return lambda logits, labels: [{"predictions": best} for best in top_predictions(logits, names, k)]


def evaluations_of(names: Sequence[str]) -> Values:
    """The values of EVALUATION. They raise RunError when a logit is not finite."""

    def values(logits: np.ndarray, labels: np.ndarray) -> list[dict]:
        check_finite(logits)
        log_probabilities = log_softmax(logits)
        probabilities = np.exp(log_probabilities)
        columns = labels.tolist(), top_classes(logits, 1)[:, 0].tolist(), true_class_rank(logits, labels).tolist()
        return [
            {
                "label": label,
                "predicted_class": best,
                "predicted_name": names[best],
                "probability": float(probabilities[i, best]),
                "rank": rank,
                "true_probability": float(probabilities[i, label]),
                "loss": 0.0 - float(log_probabilities[i, label]),  # never -0.0
            }
            for i, (label, best, rank) in enumerate(zip(*columns))
        ]

    return values


def compute_rows(
    network: Network,
    loader: Loader,
    entries: Sequence[Entry],
    values: Values,
    order: Sequence[int],
    keep: Callable[[Batch, np.ndarray], None] | None = None,
) -> Iterator[list[dict]]:
    """The rows of each batch of the positions `order`, which rise.

    keep: called before with the batch and its features [N, T, F].

    Raises:
        RuntimeError: the rows differ in number from `order` (a defect, never the user's fault).
    """
    counted = 0
    for batch, (logits, features) in answers(network, loader.batches(order)):
        if keep is not None:
            keep(batch, features)
        known = [(index, {"error": reason}) for index, reason in batch.unreadable]
        if batch.indices:
            known += zip(batch.indices, values(logits, batch.labels))
        known.sort(key=itemgetter(0))
        counted += len(known)
        yield [{"position": index, "video": entries[index].path, **rest} for index, rest in known]
    if counted != len(order):
        raise RuntimeError(f"{counted} videos counted of {len(order)}")


def complete(
    journal: Journal, compute: Callable[[Sequence[int]], Iterator[list[dict]]], description: str
) -> Iterator[tuple[int, list[dict]]]:
    """(number of the batch, its rows) for each batch that the journal did not have: by then it has it.

    compute: `compute_rows` but for the positions.
    """
    first = journal.count // journal.batch_size
    with progress_bar(len(journal.order), description, journal.count) as bar:
        for number, rows in enumerate(compute(journal.order[journal.count :]), first):
            journal.append(rows)
            yield number, rows
            bar.update(len(rows))
