"""What predict.py leaves of a list once all its rows are known, in the format that was asked for."""

from pathlib import Path

from metrics.features import FeatureFile
from metrics.journal import Journal
from metrics.parquet import open_pyarrow, write_parquet
from metrics.report import write_predictions
from utils.config.flags import Flags
from utils.config.keys import InferConfig
from utils.errors import InputError

SHARD_SIZE = 1000


def whole_batches(shard_size: int | None, batch_size: int) -> int:
    """The videos of a shard: --shard_size, rounded up to whole batches, so that batches are those of a run without."""
    return -(-(shard_size or SHARD_SIZE) // batch_size) * batch_size


def feature_shape(features: bool | str, section: InferConfig, num_features: int) -> list[int]:
    """The shape of a video's row: [F], or [T, F] for --features=segments."""
    return [section.seg_num] * (features == "segments") + [num_features]


def check_list_flags(flags: Flags, single: bool) -> None:
    """Raises InputError for flags that are for lists where there is a single video, or without what they need."""
    if single and flags.ray:
        raise InputError(f"--ray={flags.ray} is for lists of videos; a single one needs no cluster")
    if single and flags.format == "parquet":
        raise InputError("--format=parquet is for lists of videos; predictions.json holds a single one")
    for name in ("window", "save_video", "explain"):
        if flags.ray and getattr(flags, name):
            raise InputError(f"--{name} is made on this machine: not with --ray={flags.ray}")
    if flags.format == "parquet":
        open_pyarrow()


def write_list_results(flags: Flags, folder: Path, journal: Journal, features: FeatureFile | None) -> int:
    """Writes the predictions, and the features where there are any; returns the number of unreadable videos."""
    if flags.format == "parquet":
        return write_parquet(folder, journal.rows(), features, whole_batches(flags.shard_size, journal.batch_size))
    unreadable = write_predictions(folder, journal.rows())
    if features is not None:
        features.finish()
    return unreadable
