"""Names the classes of one video, or of each video of a folder, a pattern or a list.

    python predict.py --config=./configs/tsn.yaml --weights=TSN.pdparams --video_path=clip.mp4

Writes to --save_dir: predictions.json, predictions.csv, report.html, with --features features.npy, and of a list
predictions.jsonl, from which a run that was ended goes on with the same command. With --window, --save_video and
--explain also what results/pages/per_video.py names.
"""

import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH=1
from utils.cli import run
from utils.config.session import announce, open_config


def main() -> None:
    flags, config = open_config("predict")

    from inference.finding import find_early

    finding = None if flags.ray or flags.nproc else find_early(config, config.infer)

    from reader.build import build_loader, describe_protocol
    from results.task import check_readable, read_task
    from utils.log import say
    from utils.processes.world import open_world
    from utils.storage.lock import locked_folder

    task = read_task(flags, config)
    if flags.ray:
        from apps.cluster.predicting import predict_on_cluster

        predict_on_cluster(task)
        return

    section, total = task.section, len(task.entries)
    world, device = open_world(flags, config, section, total)
    size = -(-section.batch_size // world.size)
    loader = build_loader(config, section, task.entries, needs_label=False, batch_size=size, world=world)
    # A single video's folder is taken at once, a list's when its rows are known.
    alone = task.single and world.is_main
    held = locked_folder(task.folder, f"--save_dir={flags.save_dir}") if alone else nullcontext()
    with held, loader:  # its processes start while the network is loaded
        from inference.network import load_network

        network = load_network(config, section, device, total, world.ranks_here, finding)
        announce(flags, config)
        protocol = f"{describe_protocol(section)}, {network.description}"
        say(f"predicting {total} video{'s' * (total > 1)}: {protocol}")

        from results.passes import predict

        done = predict(task, network, world, loader, protocol)
    if done:
        unreadable, where = done
        say(f"predicted {total - unreadable} of {total} videos, {unreadable} unreadable; written to {where}")
        check_readable(unreadable, total, flags.strict)


if __name__ == "__main__":
    run(main)
