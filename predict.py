"""Names the classes of one video or of a list: python predict.py --config=./configs/tsn.yaml --weights=TSN.pdparams --video_path=clip.mp4

Writes to --save_dir: predictions.json and predictions.csv.
"""

from utils.cli import run
from utils.session import announce, open_config


def main() -> None:
    flags, config = open_config("predict")

    from metrics.report import read_labels, top_predictions, write_predictions
    from reader.build import build_loader, describe_protocol, read_section_list
    from reader.filelist import Entry
    from utils.errors import InputError
    from utils.files import check_save_dir, make_save_dir
    from utils.log import progress_bar, say

    section = config.infer
    check_save_dir(flags.save_dir)
    names = read_labels(section.kinetics_labels, config.model.num_classes)
    single = bool(section.video_path)
    entries = [Entry(section.video_path)] if single else read_section_list(config, section, needs_label=False)

    from inference.network import load_network
    from utils.device import choose_device

    device = choose_device(section.use_gpu, config.demands_gpu)
    network = load_network(config, section, flags.weights, device)
    announce(flags, config)
    say(f"predicting {len(entries)} videos: {describe_protocol(section)}, {network.description}")

    results: list[dict] = [{} for _ in entries]
    with build_loader(config, section, entries) as loader, progress_bar(len(entries), "prediction") as bar:
        for number, batch in enumerate(loader.batches()):
            for index, reason in batch.unreadable:
                if single:
                    raise InputError(f"{entries[index].path}: {reason}")
                results[index] = {"video": entries[index].path, "error": reason}
            if batch.indices:
                predictions = top_predictions(network(batch.frames), names, section.topk)
                for index, prediction in zip(batch.indices, predictions):
                    results[index] = {"video": entries[index].path, "predictions": prediction}
            if number % flags.log_interval == 0:
                for index in sorted(batch.indices + [index for index, _ in batch.unreadable]):
                    say(describe(results[index]))
            bar.update(len(batch.indices) + len(batch.unreadable))

    folder = make_save_dir(flags.save_dir)
    write_predictions(folder, results)
    unreadable = sum("error" in result for result in results)
    say(f"predicted {len(results) - unreadable} of {len(results)} videos, {unreadable} unreadable; written to {folder}")


def describe(result: dict) -> str:
    """The log lines of one video: its name, then a line per class with its probability."""
    if "error" in result:
        return f"{result['video']}: unreadable: {result['error']}"
    lines = [f"  {p['probability']:.6f}  {p['label']}" for p in result["predictions"]]
    return "\n".join([f"{result['video']}:", *lines])


if __name__ == "__main__":
    run(main)
