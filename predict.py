"""Names the classes of one video, or of each video of a folder, a pattern or a list.

    python predict.py --config=./configs/tsn.yaml --weights=TSN.pdparams --video_path=clip.mp4

Writes to --save_dir: predictions.json, predictions.csv, report.html, with --features features.npy, and of a list
predictions.jsonl, from which a run that was ended goes on with the same command. With --window, --save_video and
--explain also what report/per_video.py names.
"""

from dataclasses import replace
from functools import partial

from utils.cli import run
from utils.config.session import announce, open_config


def main() -> None:
    flags, config = open_config("predict")

    from inference.start import open_network
    from metrics.features import FeatureFile, remove_partial_features, write_features
    from metrics.head import run_head
    from metrics.journal import open_journal
    from metrics.report import read_labels, write_predictions
    from metrics.results import check_list_flags, write_list_results
    from metrics.rows import PREDICTION, complete, compute_rows, predictions_of
    from reader.build import build_loader, describe_protocol, read_section_list
    from reader.filelist import Entry
    from reader.integrity import VideoError, check_file
    from reader.videos import videos_at
    from report.extras import wants_report
    from report.frames import frames_seen
    from report.per_video import check_wanted, make_wanted
    from report.prediction import write_prediction_page
    from utils.errors import InputError
    from utils.files import check_save_dir, make_save_dir, publish, written_to
    from utils.log import say
    from utils.storage import is_remote

    section = config.infer
    report = wants_report(flags.report)
    check_save_dir(flags.save_dir)
    names = read_labels(section.kinetics_labels, config.model.num_classes)
    path = section.video_path
    if path and not path.endswith((".pkl", ".pickle")):
        section = replace(section, format="mp4")  # as the original: a path is a video whatever its lists hold
    entries = videos_at(path) if path else read_section_list(config, section, needs_label=False)
    single = entries is None
    if single:
        try:
            check_file(path)  # before paddle and weights are loaded
        except VideoError as error:
            raise InputError(str(error)) from None
        entries = [Entry(path)]
    check_wanted(flags, section, len(entries))

    check_list_flags(flags, single)
    if flags.ray:
        from cluster.predicting import predict_on_cluster

        predict_on_cluster(flags, config, section, entries, names, report)
        return

    world, network = open_network(flags, config, section, len(entries))
    announce(flags, config)
    videos = f"{len(entries)} video{'s' * (len(entries) > 1)}"
    protocol = f"{describe_protocol(section)}, {network.description}"
    say(f"predicting {videos}: {protocol}")

    batch_size = -(-section.batch_size // world.size)
    loader = build_loader(config, section, entries, needs_label=False, batch_size=batch_size, world=world)
    compute = partial(compute_rows, network, loader, entries, predictions_of(names, section.topk))
    folder = written_to(flags.save_dir)
    about = {"videos": section.video_path or section.filelist, "how": protocol, "configuration": config.dump()}
    frames = partial(frames_seen, config, section, entries)
    make = partial(make_wanted, flags, config, section, network, names, entries, folder)
    if single:
        if not world.is_main:
            return
        kept = []
        with loader:
            [[row]] = compute(range(1), lambda batch, features: kept.append(features))
        if "error" in row:
            raise InputError(f"{row['video']}: {row['error']}")
        say(describe(row))
        unreadable = write_predictions(make_save_dir(flags.save_dir), [row])
        if flags.features:
            write_features(folder, kept[0], section.feature_dtype, flags.features == "segments")
        made = make([row])
        if report:
            write_prediction_page(folder / "report.html", [row], about, frames, made.timelines, made.heat_maps)
        ended = any(folder.glob("*.partial*"))  # a run over a list, which may yet go on
        where = publish(folder, flags.save_dir, clear=not ended)
    else:
        order, features = range(world.rank, len(entries), world.size), None
        if flags.features:
            shape = [section.seg_num] * (flags.features == "segments") + [network.num_features]
            features = FeatureFile(folder, order, shape, section.feature_dtype, world)
        facts = {"features": flags.features}
        head = run_head("predict", config, section, network, names, entries, world.size, **facts)
        how = (order, loader.batch_size, world, flags.restart, is_remote(flags.save_dir), features)
        with open_journal(folder, "predictions", head, PREDICTION, *how) as journal:
            if world.is_main:
                remove_partial_features(folder, keep=features.parts if features else ())
            compute = partial(compute, keep=features and features.put)
            with loader:
                for number, rows in complete(journal, compute, "prediction"):
                    for row in rows if number % flags.log_interval == 0 else ():
                        say(describe(row), every_rank=True)
            world.gather(None)  # all ranks are done
            if not world.is_main:
                return
            unreadable = write_list_results(flags, folder, journal, features)
            made = make(journal.rows())
            if report:
                shown = frames, made.timelines, made.heat_maps
                write_prediction_page(folder / "report.html", journal.rows(), about, *shown)
            journal.finish()
            where = publish(folder, flags.save_dir)
            if features:
                features.discard()
            journal.discard()
    total = len(entries)
    say(f"predicted {total - unreadable} of {total} videos, {unreadable} unreadable; written to {where}")


def describe(row: dict) -> str:
    """The log lines of one video: its name, then a line per class with its probability."""
    if "error" in row:
        return f"{row['video']}: unreadable: {row['error']}"
    lines = [f"  {p['probability']:.6f}  {p['label']}" for p in row["predictions"]]
    return "\n".join([f"{row['video']}:", *lines])


if __name__ == "__main__":
    run(main)
