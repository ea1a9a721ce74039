"""Run ranks for benchmarks/data_wait.py, with their own readers and a network that only takes time.

`python benchmarks/rank_process.py LIST RANKS READERS SECONDS STEPS`: rank 0 prints {"videos": of all ranks per second,
"waited": the share of time in which a rank had no batch}, both without the first batch. READERS may be auto.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from reader.build import build_loader, read_section_list
from reader.loader import timed
from utils.cli import run
from utils.config.loading import load_config
from utils.processes.launch import start_ranks
from utils.processes.ranks import linked_ranks

BATCH = 8  # per rank and step


def main() -> None:
    list_path, ranks, readers, seconds, steps = sys.argv[1:]
    start_ranks(int(ranks), use_gpu=False)
    world = linked_ranks()
    config = Path(__file__).parents[1] / "configs" / "tsn.yaml"
    sets = (f"TRAIN.filelist={list_path}", f"TRAIN.num_reader_threads={readers}")
    config = load_config(config, {}, sets)
    entries = read_section_list(config, config.train)
    order = [i % len(entries) for i in range(world.rank, world.size * BATCH * int(steps), world.size)]
    with build_loader(config, config.train, entries, 0, batch_size=BATCH, world=world) as loader:
        begun = waited = 0.0
        for _, wait in timed(loader.batches(order)):
            longest = max(world.all_gather(wait))  # ranks wait for each other, as when gradients are summed
            if begun:
                waited += longest
            begun = begun or time.perf_counter()
            ended = time.perf_counter()
            time.sleep(float(seconds))
    videos = world.size * BATCH * (int(steps) - 1)
    if world.is_main:
        print(json.dumps({"videos": videos / (ended - begun), "waited": waited / (ended - begun)}))


if __name__ == "__main__":
    run(main)
