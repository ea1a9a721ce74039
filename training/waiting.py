"""Whether an epoch has waited for its data, and what would help."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from reader.loader import worker_count
from utils.config.train_keys import TrainConfig
from utils.log import say
from utils.processes.ranks import World

SHARE = 0.1  # of an epoch's time: above it a line says so
SHORTEST = 10.0  # seconds; a shorter epoch waits for its readers to start, which says nothing about them
_MANIFEST = "reencode.json"  # what data/reencode.py leaves beside its list


@dataclass(frozen=True)
class Spent:
    """What an epoch took."""

    seconds: float
    waited: float  # of them those in which the device had no data to work on


def say_waiting(epoch: int, spent: Spent, train: TrainConfig, readers: int, videos: int, world: World) -> None:
    """Print a line about an epoch that has waited for its data, with what helps; all ranks must call it.

    readers: of this rank; 0 where nothing is decoded. videos: of the list.
    """
    # The ranks wait for each other: for whoever waited longest all have waited.
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
