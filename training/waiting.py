"""Report an epoch that waited for its data, and what would help."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from reader.loader import worker_count
from utils.config.train_keys import TrainConfig
from utils.log import say
from utils.processes.ranks import World

SHARE = 0.1  # of an epoch's time; a line reports longer waiting
SHORTEST = 10.0  # seconds; shorter epochs mostly wait for readers to start, which says nothing about their speed
_MANIFEST = "reencode.json"  # written by data/reencode.py beside its list


@dataclass(frozen=True)
class Spent:
    """The time of an epoch."""

    seconds: float
    waited: float  # seconds in which the device had no data to work on


def say_waiting(epoch: int, spent: Spent, train: TrainConfig, readers: int, videos: int, world: World) -> None:
    """Print a line if an epoch waited for its data, with what helps. All ranks must call it.

    readers: of this rank; 0 if nothing is decoded. videos: of the list.
    """
    # The ranks wait for each other, so all have waited as long as the slowest.
    share = max(world.all_gather(spent.waited / max(spent.seconds, 1e-9)))
    if not (readers and world.is_main) or spent.seconds < SHORTEST or share <= SHARE:
        return
    most = worker_count("auto", -(-videos // world.size), world.ranks_here)
    helps = []
    if readers < most:
        devices = f" for each of {world.ranks_here} devices" if world.ranks_here > 1 else ""
        helps.append(f"{readers} of {most} cores read{devices}: TRAIN.num_reader_threads=auto has all read")
    list_path = Path(train.filelist)
    if train.format != "pkl" and not (list_path.parent / _MANIFEST).exists():
        command = f"python data/reencode.py {shlex.quote(train.filelist)} --out FOLDER"
        helps.append(f"{command} --short_side {train.short_size} --keyint 12 makes videos that are read faster")
    what = "; ".join(helps) or "all cores read already: it takes more of them"
    say(f"epoch {epoch} waited for data in {share:.0%} of its time; {what}")
