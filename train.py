"""Train a network: `python train.py --model_name=TSN --config=./configs/tsn.yaml --pretrain=none`.

It writes to --save_dir: TSN_epoch{N} after each epoch, TSN at the end, TSN_best by validation top-1 (.pdparams, .pdopt
and .json each), config.yaml, train_log.jsonl and report.html.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH=1
from utils.cli import run
from utils.config.session import announce, open_config

if TYPE_CHECKING:
    from reader.filelist import FileList
    from utils.config.flags import Flags
    from utils.config.loading import Config
    from utils.processes.ranks import World


def main() -> None:
    flags, config = open_config("train")

    from reader.build import read_section_list
    from reader.filelist import FileList
    from results.pages.extras import check_logger, wants_report
    from training.environment import set_environment
    from utils.processes.world import open_world
    from utils.storage.files import check_local, check_save_dir
    from utils.storage.lock import locked_folder

    report = wants_report(flags.report)
    check_logger(config.train.logger)
    check_local("--save_dir", config.train.save_dir)
    check_local("--resume", flags.resume)
    check_save_dir(config.train.save_dir)
    entries = read_section_list(config, config.train)
    validates = flags.valid_interval and config.valid.filelist
    valid_entries = read_section_list(config, config.valid) if validates else FileList([])
    set_environment()
    world, device = open_world(flags, config, config.train, tensors=True)
    # Lock before looking for checkpoints: no other run may replace the one that this run continues from.
    folder = Path(config.train.save_dir)
    with locked_folder(folder, f"--save_dir={folder}") if world.is_main else nullcontext():
        train(flags, config, entries, valid_entries, device, world, report)


def train(
    flags: "Flags", config: "Config", entries: "FileList", valid_entries: "FileList",
    device: str, world: "World", report: bool,
) -> None:  # fmt: skip
    """Train in the locked folder, with all ranks connected."""
    from inference.announcing import describe_model
    from reader.build import describe_protocol
    from results.pages.training import following
    from training.amp import check_num_gpus
    from training.beforehand import warnings
    from training.run import Run
    from utils.commands import to_type
    from utils.log import say
    from utils.storage.files import write_text

    announce(flags, config, describe_model(config))
    training = Run(flags, config, entries, valid_entries, device, world)
    check_num_gpus(config.train.num_gpus, device, world.size)
    if not world.is_main:
        training.train()
        return
    doubts = warnings(config, entries, valid_entries, training.schedule, world.size)
    for line in doubts:
        say(line)
    folder = Path(config.train.save_dir)
    write_text(folder / "config.yaml", config.dump())
    facts = {
        "training": f"{len(entries)} videos of {config.train.filelist}",
        "validation": f"{len(valid_entries)} videos of {config.valid.filelist}: {describe_protocol(config.valid)}"
        if valid_entries
        else "none",
        "seed": training.progress.seed,
        **({"warnings": "; ".join(doubts)} if doubts else {}),
        "configuration": config.dump(),
    }
    with following(folder, report, config, training.steps.per_epoch, facts) as follow:
        training.train(follow)
    if report:
        say(f"page: {folder / 'report.html'}")
    clip = (valid_entries or entries)[0].path
    for words in (["eval.py", f"--weights={folder}"], ["predict.py", f"--weights={folder}", f"--video_path={clip}"]):
        say(f"next: {to_type(*words)}")


if __name__ == "__main__":
    run(main)
