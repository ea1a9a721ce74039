"""Measures a network on the list of TEST: python eval.py --config=./configs/tsn.yaml --weights=TSN.pdparams

Writes to --save_dir: metrics.json, predictions.csv, confusion.csv and config.yaml.
"""

from utils.cli import run
from utils.config.session import announce, open_config


def main() -> None:
    flags, config = open_config("eval")

    from inference.start import open_network
    from metrics.evaluate import evaluate
    from metrics.report import EvaluationReport, class_names
    from reader.build import build_loader, describe_protocol, read_section_list
    from utils.errors import InputError
    from utils.files import check_save_dir, make_save_dir, publish, write_text
    from utils.log import format_metrics, say, say_in

    section = config.test
    check_save_dir(flags.save_dir)
    entries = read_section_list(config, section)
    names = class_names(config.infer.kinetics_labels, config.model.num_classes)

    world, network = open_network(flags, config, section, len(entries))
    announce(flags, config)
    protocol = f"{describe_protocol(section)}, {network.description}"
    say(f"evaluating {len(entries)} videos of {section.filelist}: {protocol}")

    report = EvaluationReport(entries, names)
    batches = 0

    def on_batch(batch, logits, so_far):
        nonlocal batches
        if batch.indices:
            report.add(batch.indices, batch.labels, logits)
        for index, reason in batch.unreadable:
            say(f"unreadable, not counted: {entries[index].path}: {reason}", every_rank=True)
        if batches % flags.log_interval == 0:
            say_in("TEST", f"batch {batches}, so far {format_metrics(so_far.means)}, videos: {so_far.videos}")
        batches += 1

    with build_loader(config, section, entries, batch_size=-(-section.batch_size // world.size), world=world) as loader:
        result = evaluate(network, loader, range(world.rank, len(entries), world.size), on_batch)
    result, rows = result.over(world), world.gather(report.rows)
    if result.accuracy.videos == 0:
        raise InputError(
            f"{section.filelist}: none of its {len(entries)} videos can be read: {result.unreadable[0][1]}"
        )
    if not world.is_main:
        return
    for part in rows:
        report.rows |= part

    folder = make_save_dir(flags.save_dir)
    means = result.accuracy.means
    report.write(folder, {**means, "videos": result.accuracy.videos, "protocol": protocol}, result.unreadable)
    write_text(folder / "config.yaml", config.dump())
    counts = f"videos: {result.accuracy.videos}, unreadable: {len(result.unreadable)}"
    where = publish(folder, flags.save_dir)
    say_in(
        "TEST", f"{format_metrics(means, ('Loss', 'TOP1_ACC', 'TOP5_ACC'))}, {counts}, {protocol}; written to {where}"
    )


if __name__ == "__main__":
    run(main)
