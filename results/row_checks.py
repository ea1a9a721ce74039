"""Check whether a run could have written the rows in a file, because files can be damaged or forged."""

import math
from collections.abc import Callable, Sequence

from inference.rows import EVALUATION, NONE, NONE_ID
from reader.filelist import Entry

# Whether a run could have written a kept row of a readable video.
Fits = Callable[[dict], bool]


def prediction_fits(names: Sequence[str], k: int, entries: Sequence[Entry], threshold: float = 0.0) -> Fits:
    """Return the check for PREDICTION's rows: the k best classes of an entry, with NONE before unsure ones."""
    number = min(k, len(names))

    def ids_fit(ids: list[int]) -> bool:
        best = ids[1:] if threshold and ids[:1] == [NONE_ID] else ids
        return len(best) == number and NONE_ID not in best

    return _classes_fit(names, entries, ids_fit)


def many_predictions_fit(names: Sequence[str], k: int, entries: Sequence[Entry], threshold: float = 0.0) -> Fits:
    """Return the check for PREDICTION's rows with many labels: any number of different classes, or NONE alone."""
    return _classes_fit(names, entries, lambda ids: len(set(ids)) == len(ids) and (NONE_ID not in ids or len(ids) == 1))


PREDICTION_FITS = {"single": prediction_fits, "multi": many_predictions_fit}


def _classes_fit(names: Sequence[str], entries: Sequence[Entry], ids_fit: Callable[[list[int]], bool]) -> Fits:
    """Return the check for rows with classes of these names, one or more; ids_fit: whether a row can have these ids."""
    labels, keys = {NONE_ID: NONE} | dict(enumerate(names)), ("class_id", "label", "probability")

    def fits(row: dict) -> bool:
        named, ids = row["predictions"], []
        if type(named) is not list or not named or not _is_of(row, entries):
            return False
        for found in named:  # one loop without calls, because there may be millions of rows
            if type(found) is not dict or tuple(found) != keys:
                return False
            class_id, name, probability = found.values()
            if type(class_id) is not int or class_id not in labels or name != labels[class_id]:
                return False
            if type(probability) is not float or not 0 <= probability <= 1:
                return False
            ids.append(class_id)
        return ids_fit(ids)

    return fits


def evaluation_fits(names: Sequence[str], entries: Sequence[Entry]) -> Fits:
    """Return the check for EVALUATION's rows of these entries."""

    def fits(row: dict) -> bool:
        label, best, name, probability, rank, true_probability, loss = (row[key] for key in EVALUATION.columns)
        return (
            all(type(value) is int for value in (label, best, rank))
            and 0 <= label < len(names)
            and 0 <= best < len(names)
            and name == names[best]
            and 1 <= rank <= len(names)
            and _is_share(probability)
            and _is_share(true_probability)
            and _is_loss(loss)
            and _is_of(row, entries)
        )

    return fits


def many_evaluation_fits(num_classes: int, entries: Sequence[Entry]) -> Fits:
    """Return the check for rows of an evaluation with many labels of these entries."""

    def fits(row: dict) -> bool:
        labels, probabilities, loss = row["labels"], row["probabilities"], row["loss"]
        return (
            type(labels) is type(probabilities) is list
            and all(type(one) is int and 0 <= one < num_classes for one in labels)
            and len(probabilities) == num_classes
            and all(map(_is_share, probabilities))
            and _is_loss(loss)
            and _is_of(row, entries)
        )

    return fits


def _is_share(value: object) -> bool:
    return type(value) is float and 0 <= value <= 1


def _is_loss(value: object) -> bool:
    return type(value) is float and 0 <= value < math.inf


def _is_of(row: dict, entries: Sequence[Entry]) -> bool:
    return row["video"] == entries[row["position"]].path
