"""Whether rows that a file has kept are those that a run could have written: files are damaged, or forged."""

import math
from collections.abc import Callable, Sequence

from inference.rows import EVALUATION, NONE, NONE_ID
from reader.filelist import Entry

# Whether a row of a readable video, which a file has kept, is one that the run could have written.
Fits = Callable[[dict], bool]


def prediction_fits(names: Sequence[str], k: int, entries: Sequence[Entry], threshold: float = 0.0) -> Fits:
    """Return the check of PREDICTION's rows: the k best classes of one of the entries, NONE before unsure ones."""
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
        for found in best:  # one loop without calls: there may be millions of rows
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
    """Return the check of EVALUATION's rows: of one of the entries."""

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


def _is_of(row: dict, entries: Sequence[Entry]) -> bool:
    return row["video"] == entries[row["position"]].path
