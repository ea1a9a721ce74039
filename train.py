"""Trains a network: python train.py --model_name=TSN --config=./configs/tsn.yaml --pretrain=none

Writes to --save_dir: TSN_epoch{N} after each epoch, TSN at the end, TSN_best by validation top-1 (.pdparams, .pdopt
and .json each), config.yaml, train_log.jsonl and report.html.
"""

from utils.cli import run
from utils.config.session import announce, open_config


def main() -> None:
    flags, config = open_config("train")

    from inference.start import set_environment
    from reader.build import describe_protocol, read_section_list
    from reader.filelist import FileList
    from report.extras import check_board, wants_report
    from utils.files import check_local, check_save_dir, make_save_dir, write_text
    from utils.processes.launch import start_ranks

    report = wants_report(flags.report)
    check_board(config.train.logger)
    check_local("--save_dir", config.train.save_dir)
    check_local("--resume", flags.resume)
    check_save_dir(config.train.save_dir)
    entries = read_section_list(config, config.train)
    validates = flags.valid_interval and config.valid.filelist
    valid_entries = read_section_list(config, config.valid) if validates else FileList([])
    set_environment()
    start_ranks(flags.nproc, config.train.use_gpu)

    from utils.processes.device import choose_device
    from utils.processes.ranks import join_ranks
    from utils.processes.signals import signals_held

    with signals_held():  # all ranks come together, or none
        device = choose_device(config.train.use_gpu, config.demands_gpu)
        world = join_ranks(device)

    from report.training import following
    from training.device import check_num_gpus
    from training.run import Run

    training = Run(flags, config, entries, valid_entries, device, world)
    announce(flags, config)
    check_num_gpus(config.train.num_gpus, device, world.size)
    if not world.is_main:
        training.train()
        return
    folder = make_save_dir(config.train.save_dir)
    write_text(folder / "config.yaml", config.dump())
    facts = {
        "training": f"{len(entries)} videos of {config.train.filelist}",
        "validation": f"{len(valid_entries)} videos of {config.valid.filelist}: {describe_protocol(config.valid)}"
        if valid_entries
        else "none",
        "seed": training.progress.seed,
        "configuration": config.dump(),
    }
    with following(folder, report, config, training.steps.per_epoch, facts) as follow:
        training.train(follow)


if __name__ == "__main__":
    run(main)
