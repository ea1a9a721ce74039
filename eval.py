"""Measures a network on the list of TEST: python eval.py --config=./configs/tsn.yaml --weights=TSN.pdparams

Writes to --save_dir: metrics.json, predictions.csv, confusion.csv, config.yaml, report.html and evaluation.jsonl, from
which a run that was ended goes on with the same command.
"""

from functools import partial

from utils.cli import run
from utils.config.session import announce, open_config


def main() -> None:
    flags, config = open_config("eval")

    from inference.start import open_network
    from metrics.head import run_head
    from metrics.journal import open_journal, read_rows
    from metrics.report import class_names, summarise, write_evaluation
    from metrics.rows import EVALUATION, complete, compute_rows, evaluations_of
    from reader.build import build_loader, describe_protocol, read_section_list
    from report.evaluation import write_evaluation_page
    from report.extras import wants_report
    from report.frames import frames_seen
    from utils.errors import InputError
    from utils.files import check_save_dir, publish, write_text, written_to
    from utils.log import format_metrics, say, say_in
    from utils.storage import is_remote

    section = config.test
    report = wants_report(flags.report)
    check_save_dir(flags.save_dir)
    entries = read_section_list(config, section)
    num_classes = config.model.num_classes
    names = class_names(config.infer.kinetics_labels, num_classes)

    world, network = open_network(flags, config, section, len(entries))
    announce(flags, config)
    protocol = f"{describe_protocol(section)}, {network.description}"
    say(f"evaluating {len(entries)} videos of {section.filelist}: {protocol}")

    loader = build_loader(config, section, entries, batch_size=-(-section.batch_size // world.size), world=world)
    compute = partial(compute_rows, network, loader, entries, evaluations_of(names))
    order = range(world.rank, len(entries), world.size)
    folder = written_to(flags.save_dir)
    head = run_head("eval", config, section, network, names, entries, world.size)
    how = (order, loader.batch_size, world, flags.restart, is_remote(flags.save_dir))
    with open_journal(folder, "evaluation", head, EVALUATION, *how) as journal:
        so_far = summarise(read_rows(journal.path), num_classes).accuracy
        with loader:
            for number, rows in complete(journal, compute, "evaluation"):
                so_far += summarise(rows, num_classes).accuracy
                for row in rows:
                    if "error" in row:
                        say(f"unreadable, not counted: {row['video']}: {row['error']}", every_rank=True)
                if number % flags.log_interval == 0:
                    means = format_metrics(so_far.means)
                    say_in("TEST", f"batch {number}, so far {means}, videos: {so_far.videos}")
        world.gather(None)  # all ranks are done
        if not world.is_main:
            return
        summary = summarise(journal.rows(), num_classes)
        videos, means = summary.accuracy.videos, summary.accuracy.means
        if videos == 0:
            journal.discard()
            raise InputError(
                f"{section.filelist}: none of its {len(entries)} videos can be read: {summary.first_error}"
            )
        metrics = {**means, "videos": videos, "protocol": protocol}
        write_evaluation(folder, journal.rows(), summary, metrics, names)
        write_text(folder / "config.yaml", config.dump())
        if report:
            about = {"list": section.filelist, "how": protocol, "configuration": config.dump()}
            frames = partial(frames_seen, config, section, entries)
            write_evaluation_page(folder / "report.html", journal.rows(), metrics, names, about, frames)
        journal.finish()
        where = publish(folder, flags.save_dir)
        journal.discard()
    counts = f"videos: {videos}, unreadable: {summary.unreadable}"
    figures = format_metrics(means, ("Loss", "TOP1_ACC", "TOP5_ACC"))
    say_in("TEST", f"{figures}, {counts}, {protocol}; written to {where}")


if __name__ == "__main__":
    run(main)
