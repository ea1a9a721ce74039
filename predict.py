"""Names the classes of one video, or of each video of a list.

    python predict.py --config=./configs/tsn.yaml --weights=TSN.pdparams --video_path=clip.mp4

Writes to --save_dir: predictions.json and predictions.csv.
"""

from dataclasses import replace

from utils.cli import run
from utils.config.session import announce, open_config


def main() -> None:
    flags, config = open_config("predict")

    from inference.pipeline import answers
    from inference.start import open_network
    from metrics.report import read_labels, top_predictions, write_predictions
    from reader.build import build_loader, describe_protocol, read_section_list
    from reader.filelist import Entry
    from reader.integrity import VideoError, check_file
    from utils.errors import InputError
    from utils.files import check_save_dir, make_save_dir, publish
    from utils.log import progress_bar, say

    section = config.infer
    check_save_dir(flags.save_dir)
    names = read_labels(section.kinetics_labels, config.model.num_classes)
    single = bool(section.video_path)
    if single:
        try:
            check_file(section.video_path)  # before paddle and weights are loaded
        except VideoError as error:
            raise InputError(str(error)) from None
    if single and not section.video_path.endswith((".pkl", ".pickle")):
        section = replace(section, format="mp4")  # as the original: a single path is a video whatever its lists hold
    entries = [Entry(section.video_path)] if single else read_section_list(config, section, needs_label=False)

    world, network = open_network(flags, config, section, len(entries))
    announce(flags, config)
    videos = f"{len(entries)} video{'s' * (len(entries) > 1)}"
    say(f"predicting {videos}: {describe_protocol(section)}, {network.description}")

    results: dict[int, dict] = {}  # by position in the list
    order = range(world.rank, len(entries), world.size)
    loader = build_loader(
        config, section, entries, needs_label=False, batch_size=-(-section.batch_size // world.size), world=world
    )
    with loader, progress_bar(len(order), "prediction") as bar:
        for number, (batch, (logits, _)) in enumerate(answers(network, loader.batches(order))):
            for index, reason in batch.unreadable:
                if single:
                    raise InputError(f"{entries[index].path}: {reason}")
                results[index] = {"video": entries[index].path, "error": reason}
            if batch.indices:
                predictions = top_predictions(logits, names, section.topk)
                for index, prediction in zip(batch.indices, predictions):
                    results[index] = {"video": entries[index].path, "predictions": prediction}
            if number % flags.log_interval == 0:
                for index in sorted(batch.indices + [index for index, _ in batch.unreadable]):
                    say(describe(results[index]), every_rank=True)
            bar.update(len(batch.indices) + len(batch.unreadable))
    for part in world.gather(results):
        results |= part
    if not world.is_main:
        return

    folder = make_save_dir(flags.save_dir)
    write_predictions(folder, [results[index] for index in range(len(entries))])
    unreadable = sum("error" in result for result in results.values())
    where = publish(folder, flags.save_dir)
    say(f"predicted {len(results) - unreadable} of {len(results)} videos, {unreadable} unreadable; written to {where}")


def describe(result: dict) -> str:
    """The log lines of one video: its name, then a line per class with its probability."""
    if "error" in result:
        return f"{result['video']}: unreadable: {result['error']}"
    lines = [f"  {p['probability']:.6f}  {p['label']}" for p in result["predictions"]]
    return "\n".join([f"{result['video']}:", *lines])


if __name__ == "__main__":
    run(main)
