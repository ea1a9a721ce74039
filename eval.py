"""Measure a network on the list of TEST: `python eval.py --config=./configs/tsn.yaml --weights=TSN.pdparams`.

It writes to --save_dir: metrics.json, predictions.csv, confusion.csv, probabilities.npz, config.yaml, report.html and
evaluation.jsonl, from which the same command continues an interrupted run. --format=parquet adds evaluation.parquet/,
with each video's label and its probabilities of all classes.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH=1
from utils.cli import run
from utils.config.session import open_networks


def main() -> None:
    flags, networks = open_networks("eval")
    config = networks[0].config

    from inference.finding import find_early

    finding = None if flags.nproc else find_early(config, config.test)

    from reader.build import read_section_list
    from reader.class_names import class_names
    from results.evaluating import evaluate
    from results.pages.extras import wants_report
    from results.task import check_readable
    from utils.errors import InputError
    from utils.log import format_metrics, say_in
    from utils.processes.world import open_world
    from utils.storage.files import check_save_dir

    report = wants_report(flags.report)
    if flags.format == "parquet":
        from results.parquet import open_pyarrow

        open_pyarrow()
        if len(networks) > 1:
            raise InputError(
                "--format=parquet works with one network only; for several, probabilities.npz holds the mean"
            )
    check_save_dir(flags.save_dir)
    lists = [read_section_list(one.config, one.config.test) for one in networks]
    names = [class_names(one.config.infer.kinetics_labels, one.config.model.num_classes) for one in networks]
    if len(networks) > 1:
        from results.several import check_alike

        weights, labels = zip(*((one.config.test.weights, one.config.model.labels) for one in networks))
        check_alike(names, lists, weights, labels)
    world, device = open_world(flags, config, config.test, len(lists[0]))
    with ExitStack() as stack:
        if len(networks) > 1 and world.is_main:
            from utils.storage.lock import locked_folder

            stack.enter_context(locked_folder(Path(flags.save_dir), f"--save_dir={flags.save_dir}"))
        done = []
        for one, *what in zip(networks, lists, names):
            passing = evaluate(one.flags, one.config, *what, report, world, device, None if done else finding)
            done.append(stack.enter_context(passing))
        if not world.is_main:
            return
        if len(done) > 1:
            from results.several import deliver_evaluations

            factors = [one.factor for one in networks]
            sums, where = deliver_evaluations(done, factors, Path(flags.save_dir), report), flags.save_dir
        else:
            [only] = done
            sums, where = only.sums, only.run.deliver(only.write)
    counts = f"videos: {sums.videos}, unreadable: {sums.unreadable.number}"
    figures = format_metrics(sums.means, ("Loss", "TOP1_ACC", "TOP5_ACC"))
    say_in("TEST", f"{figures}, {counts}; written to {where}")
    if flags.strict:
        check_readable(sums.unreadable.number, len(lists[0]), strict=True)


if __name__ == "__main__":
    run(main)
