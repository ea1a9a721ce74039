"""Name the classes of one video, or of each video of a folder, a pattern or a list.

    python predict.py --config=./configs/tsn.yaml --weights=TSN.pdparams --video_path=clip.mp4

It writes to --save_dir: predictions.json, predictions.csv, report.html, with --features features.npy, and for a list
predictions.jsonl, from which the same command continues an interrupted run. results/pages/per_video.py lists the files
of --window, --save_video and --explain.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH=1
from utils.cli import run
from utils.config.session import OneOfSeveral, open_networks

if TYPE_CHECKING:
    from utils.config.flags import Flags


def main() -> None:
    flags, networks = open_networks("predict")
    config = networks[0].config

    from inference.finding import find_early

    finding = None if flags.ray or flags.nproc or len(networks) > 1 else find_early(config, config.infer)

    from results.task import check_readable, read_task
    from utils.log import say
    from utils.processes.world import open_world
    from utils.storage.lock import locked_folder

    if len(networks) > 1:
        predict_with(flags, networks)
        return
    task = read_task(flags, config)
    if flags.ray:
        from apps.cluster.predicting import predict_on_cluster

        predict_on_cluster(task)
        return

    total = len(task.entries)
    world, device = open_world(flags, config, task.section, total)
    # A single video's folder is locked at once, a list's folder when its rows are known.
    alone = task.single and world.is_main
    held = locked_folder(task.folder, f"--save_dir={flags.save_dir}") if alone else nullcontext()
    with held, task.opened(world, device, finding) as (loader, network, protocol):
        from results.passes import predict

        done = predict(task, network, world, loader, protocol)
    if done:
        unreadable, where = done
        say(f"predicted {total - unreadable} of {total} videos, {unreadable} unreadable; written to {where}")
        check_readable(unreadable, total, flags.strict)


def predict_with(flags: "Flags", networks: Sequence[OneOfSeveral]) -> None:
    """Predict with several networks together."""
    from results.several import check_alike, predict_several
    from results.task import check_readable, read_task
    from utils.log import say
    from utils.processes.world import open_world

    tasks = [read_task(network.flags, network.config) for network in networks]
    first, total = tasks[0], len(tasks[0].entries)
    weights = [task.section.weights for task in tasks]
    labels = [task.config.model.labels for task in tasks]
    names = check_alike([task.names for task in tasks], [task.entries for task in tasks], weights, labels)
    world, device = open_world(flags, first.config, first.section, total)
    folder = Path(flags.save_dir)
    unreadable = predict_several(tasks, [one.factor for one in networks], names, folder, world, device)
    if unreadable is not None:
        say(f"predicted {total - unreadable} of {total} videos, {unreadable} unreadable; written to {folder}")
        check_readable(unreadable, total, flags.strict)


if __name__ == "__main__":
    run(main)
