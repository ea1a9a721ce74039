"""Check whether a run could have written the rows in a file, because files can be damaged or forged."""

import math
from collections.abc import Callable, Sequence

from inference.rows import EVALUATION, NONE, NONE_ID
from reader.filelist import Entry

# Whether a run could have written a kept row of a readable video.
Fits = Callable[[dict], bool]


def prediction_fits(names: Sequence[str], k: int, entries: Sequence[Entry], threshold: float = 0.0) -> Fits:
    """Return the check for PREDICTION's rows: the k best classes of an entry, with NONE before unsure ones."""
    number, keys = min(k, len(names)), ("class_id", "label", "probability")

    def fits(row: dict) -> bool:
        best = row["predictions"]
        if threshold and type(best) is list and best[:1] and type(best[0]) is dict and best[0].get("label") == NONE:
            probability = best[0].get("probability")
            if type(probability) is not float or best[0].get("class_id") != NONE_ID or len(best) != number + 1:
                return False
            best = best[1:]
        if type(best) is not list or len(best) != number or not _is_of(row, entries):
            return False
        for found in best:  # one loop without calls, because there may be millions of rows
            if type(found) is not dict or tuple(found) != keys:
                return False
            class_id, name, probability = found.values()
            if type(class_id) is not int or not 0 <= class_id < len(names) or name != names[class_id]:
                return False
            if type(probability) is not float or not 0 <= probability <= 1:
                return False
        return True

    return fits


def evaluation_fits(names: Sequence[str], entries: Sequence[Entry]) -> Fits:
    """Return the check for EVALUATION's rows of these entries."""

    def fits(row: dict) -> bool:
        label, best, name, probability, rank, true_probability, loss = (row[key] for key in EVALUATION.columns)
        return (
            all(type(value) is int for value in (label, best, rank))
            and all(type(value) is float for value in (probability, true_probability, loss))
            and 0 <= label < len(names)
            and 0 <= best < len(names)
            and name == names[best]
            and 1 <= rank <= len(names)
            and 0 <= probability <= 1
            and 0 <= true_probability <= 1
            and 0 <= loss < math.inf
            and _is_of(row, entries)
        )

    return fits


def many_predictions_fit(names: Sequence[str], k: int, entries: Sequence[Entry], threshold: float = 0.0) -> Fits:
    """Return the check for PREDICTION's rows with many labels: any number of different classes, or NONE alone."""

    def fits(row: dict) -> bool:
        named = row["predictions"]
        if type(named) is not list or not named or not _is_of(row, entries):
            return False
        for found in named:
            if type(found) is not dict or tuple(found) != ("class_id", "label", "probability"):
                return False
            class_id, name, probability = found.values()
            if type(class_id) is not int or not NONE_ID <= class_id < len(names):
                return False
            if name != (NONE if class_id == NONE_ID else names[class_id]) or not _is_share(probability):
                return False
        ids = [found["class_id"] for found in named]
        return len(set(ids)) == len(ids) and (NONE_ID not in ids or len(ids) == 1)

    return fits


PREDICTION_FITS = {"single": prediction_fits, "multi": many_predictions_fit}


def many_evaluation_fits(num_classes: int, entries: Sequence[Entry]) -> Fits:
    """Return the check for rows of an evaluation with many labels of these entries."""

    def fits(row: dict) -> bool:
        labels, probabilities, loss = row["labels"], row["probabilities"], row["loss"]
        return (
            type(labels) is type(probabilities) is list
            and all(type(one) is int and 0 <= one < num_classes for one in labels)
            and len(probabilities) == num_classes
            and all(map(_is_share, probabilities))
            and type(loss) is float
            and 0 <= loss < math.inf
            and _is_of(row, entries)
        )

    return fits


def _is_share(value: object) -> bool:
    return type(value) is float and 0 <= value <= 1


def _is_of(row: dict, entries: Sequence[Entry]) -> bool:
    return row["video"] == entries[row["position"]].path
