"""Write the files of an evaluation with many labels."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from metrics.many import ManyClass
from results.tables import write_metrics
from utils.storage.files import write_csv


def write_many_evaluation(
    folder: Path, rows: Iterable[dict], classes: Sequence[ManyClass], metrics: dict, names: Sequence[str]
) -> None:
    """Write predictions.csv and metrics.json: `metrics`, the unreadable videos, and the figures of each class.

    rows: in the order of the list, see inference/label_kinds.py. Each file iterates over them; they are not kept.
    predictions.csv has a line with the probability for each class that a video has or is given.
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
