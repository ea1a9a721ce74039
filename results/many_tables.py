"""The files that an evaluation of many labels leaves behind."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from metrics.many import ManyClass
from results.tables import write_metrics
from utils.storage.files import write_csv


def write_many_evaluation(
    folder: Path, rows: Iterable[dict], classes: Sequence[ManyClass], metrics: dict, names: Sequence[str]
) -> None:
    """Write predictions.csv and metrics.json: `metrics`, the unreadable videos, what is known of each class.

    rows: in the order of the list, see inference/label_kinds.py. They are iterated over for each file and not kept.
    predictions.csv has a line for each video and class that it has or is named, with the class's probability.
    """
    header = ["video", "class_id", "label", "true", "named", "probability", "threshold"]

    def lines():
        for row in rows:
            true = set(row.get("labels", ()))
            for k, probability in enumerate(row.get("probabilities", ())):
                named = probability >= classes[k].threshold
                if named or k in true:
                    flags = int(k in true), int(named)
                    yield [row["video"], k, names[k], *flags, probability, classes[k].threshold]

    write_csv(folder / "predictions.csv", header, lines())
    per_class = (
        {
            "class_id": k,
            "label": names[k],
            "videos": found.videos,
            "named": found.named,
            "average_precision": found.average_precision if found.videos else None,
            **found.scores,
            "threshold": found.threshold,
        }
        for k, found in enumerate(classes)
        if found.videos or found.named
    )
    write_metrics(folder, rows, metrics, per_class)
