"""Write the results of predict.py for a list in the requested format, once all rows are known."""

from collections.abc import Iterable
from pathlib import Path

from results.feature_file import FeatureFile
from results.parquet import open_pyarrow, write_parquet
from results.tables import write_predictions
from utils.config.flags import Flags
from utils.config.keys import InferConfig
from utils.errors import InputError
from utils.processes.ranks import World

SHARD_SIZE = 1000


def whole_batches(shard_size: int | None, batch_size: int) -> int:
    """Return the number of videos in a shard.

    This is --shard_size rounded up to whole batches, so that batches are the same as without shards.
    """
    return -(-(shard_size or SHARD_SIZE) // batch_size) * batch_size


def open_features(
    asked: bool | str, section: InferConfig, num_features: int, folder: Path, order: range, world: World = World()
) -> FeatureFile | None:
    """Return a rank's feature file, with [F] per video or [T, F] for --features=segments; None without the flag."""
    if not asked:
        return None
    shape = [section.seg_num] * (asked == "segments") + [num_features]
    return FeatureFile(folder, order, shape, section.feature_dtype, world)


def check_list_flags(flags: Flags, single: bool) -> None:
    """Raise InputError for list flags with a single video, and for flags that lack the flag they need."""
    if single and flags.ray:
        raise InputError(f"--ray={flags.ray} is for lists of videos; predict a single video without it")
    if single and flags.format == "parquet":
        raise InputError("--format=parquet is for lists of videos; a single one goes to predictions.json")
    for name in ("window", "save_video", "explain"):
        if flags.ray and getattr(flags, name):
            raise InputError(f"--{name} works on this machine only, not with --ray={flags.ray}")
    if flags.format == "parquet":
        open_pyarrow()


def write_list_results(
    flags: Flags, folder: Path, rows: Iterable[dict], batch_size: int, features: FeatureFile | None = None
) -> int:
    """Write the predictions, and the features if there are any. Return the number of unreadable videos.

    rows: by position, iterated several times. batch_size: of the run.
    """
    if flags.format == "parquet":
        return write_parquet(folder, rows, features, whole_batches(flags.shard_size, batch_size))
    unreadable = write_predictions(folder, rows)
    if features is not None:
        features.finish()
    return unreadable
