"""Names the classes of one video, or of each video of a folder, a pattern or a list.

    python predict.py --config=./configs/tsn.yaml --weights=TSN.pdparams --video_path=clip.mp4

Writes to --save_dir: predictions.json, predictions.csv, report.html, with --features features.npy, and of a list
predictions.jsonl, from which a run that was ended goes on with the same command. With --window, --save_video and
--explain also what report/per_video.py names.
"""

from utils.cli import run
from utils.config.session import announce, open_config


def main() -> None:
    flags, config = open_config("predict")

    from inference.start import open_network
    from predicting.task import read_task
    from reader.build import describe_protocol
    from utils.log import say

    task = read_task(flags, config)
    if flags.ray:
        from cluster.predicting import predict_on_cluster

        predict_on_cluster(task)
        return

    world, network = open_network(flags, config, task.section, len(task.entries))
    announce(flags, config)
    total, protocol = len(task.entries), f"{describe_protocol(task.section)}, {network.description}"
    say(f"predicting {total} video{'s' * (total > 1)}: {protocol}")

    from predicting.passes import predict

    if done := predict(task, network, world, protocol):
        unreadable, where = done
        say(f"predicted {total - unreadable} of {total} videos, {unreadable} unreadable; written to {where}")


if __name__ == "__main__":
    run(main)
