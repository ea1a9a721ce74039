"""tools/repeat.py: it continues after a kill, keeps finished runs, shares features, and refuses what does not fit.

All networks are narrow. Where a test kills or interrupts, train.py is a process that repeat.py has started. Otherwise
`run_repeat` runs repeat.py.
"""

import json
import os
import shutil
import signal
import uuid

import pytest

from conftest import ROOT, processes, says, start_python, wait_until, write_list
from tools.repeat import left, lines, summary
from tools.repeated_runs import plan_runs
from utils.errors import InputError, RunError
from utils.storage import lock
from weight_formats import random_state, write_pickle

PRETRAIN = "--set=TRAIN.pretrain=none", "--set=TRAIN.epoch=6"
PROGRAM = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from tools import repeat, repeated_runs
from utils.cli import run
start = repeated_runs.run_script
def start_narrow(script, arguments):
    os.environ["TSN_TEST_SCRIPT"] = script.removesuffix(".py")
    return start("tests/narrow.py", arguments)
repeated_runs.run_script = start_narrow
run(repeat.main)
"""


@pytest.fixture
def folder(workspace, tmp_path):
    """Provide the lists of two folds beside that of training."""
    clips = workspace.videos[:8]
    write_list(tmp_path / "train.list", clips)
    for fold in (0, 1):
        write_list(tmp_path / f"fold{fold + 1}.test.list", clips[4 * fold : 4 * fold + 4])
        write_list(tmp_path / f"fold{fold + 1}.train.list", clips[4 - 4 * fold : 8 - 4 * fold])
    return tmp_path


def test_killed_in_the_second_run_the_same_command_goes_on_there(workspace, folder, run_repeat):
    out, mark = folder / "out", uuid.uuid4().hex
    given = [workspace.config, "--folds=2", f"--out={out}", f"--set=TRAIN.filelist={folder}/train.list", *PRETRAIN]
    with pytest.raises(RunError) as error:
        run_repeat(*given, only="fold1")
    says(error.value, "fold 2: ", "train.py", "exit code 1", "the same command again")
    for _ in range(5):
        process = start_python(["-c", PROGRAM, *given], {**os.environ, "TSN_TEST_MARK": mark}, folder / "log")
        wait_until(lambda: process.poll() is not None or (out / "fold2/checkpoints/train_log.jsonl").exists(), 200)
        process.kill()
        process.wait(20)
        wait_until(lambda: not processes(mark), 30)  # train.py has saved, and ended
        if not (out / "fold2/checkpoints/TSN.pdparams").exists():
            break
        shutil.rmtree(out / "fold2")  # a busy machine: the training was over before it was killed
    assert list((out / "fold2/checkpoints").glob("*.pdparams")) and not (out / "fold2/evaluation").exists()
    assert not (out / "fold2/checkpoints/TSN.pdparams").exists()
    first = (out / "fold1/run.json").stat().st_mtime_ns
    said = run_repeat(*given)
    assert f"{out}: 1 of 2 runs are done already\nrun 2 of 2, fold 2; about " in said
    assert (out / "fold1/run.json").stat().st_mtime_ns == first
    whole = json.loads((out / "repeat.json").read_text())
    assert [(one["name"], one["videos"]) for one in whole["runs"]] == [("fold 1", 4), ("fold 2", 4)]
    assert whole["every_video_once"]["videos"] == 8
    assert said.endswith("\n".join([*lines(whole), f"written to {out}\n"]))
    html = (out / "report.html").read_text()
    assert f">Top-1 {whole['mean']:.2f}% ± {whole['deviation']:.2f} over 2 runs</span>" in html
    log = [json.loads(line) for line in (out / "fold2/checkpoints/train_log.jsonl").read_text().splitlines()]
    assert {line["mode"] for line in log} == {"train", "epoch"}  # nothing to validate by but the fold itself
    numbers = [(line["epoch"], line["iter"]) for line in log if line["mode"] == "train"]
    assert numbers == [(epoch, 0) for epoch in range(6)]
    assert f"{out}: 2 of 2 runs are done already\n  fold 1: " in run_repeat(*given, only="no script")
    with pytest.raises(InputError) as error:
        run_repeat(*given, "--set=TRAIN.learning_rate=0.5")
    says(error.value, f"{out}/fold1: ", "another configuration", "name another folder")


def test_a_run_that_fails_ends_all_with_its_error(workspace, tmp_path, run_repeat):
    flags = workspace.config, "--seeds=2", f"--out={tmp_path / 'out'}", "--set=TRAIN.pretrain=no.pdparams"
    with pytest.raises(InputError) as error:
        run_repeat(*flags)
    says(error.value, "seed 1: ", "train.py", "exit code 2", "the same command again")
    assert "\nerror: no.pdparams: no such weights" in run_repeat.said


def test_ctrl_c_is_passed_on_and_the_training_saves_what_it_has(workspace, tmp_path):
    out = tmp_path / "out"
    given = [workspace.config, "--seeds=2", f"--out={out}", "--set=TRAIN.pretrain=none", "--set=TRAIN.epoch=200"]
    process = start_python(["-c", PROGRAM, *given], dict(os.environ), tmp_path / "log")
    wait_until(lambda: process.poll() is not None or (out / "seed1/checkpoints/train_log.jsonl").exists(), 200)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert list((out / "seed1/checkpoints").glob("*.pdparams"))


def test_seeds_share_the_features_of_a_frozen_network(workspace, tmp_path, run_repeat):
    out, start = tmp_path / "out", tmp_path / "random.pdparams"
    write_pickle(start, random_state(18, 4, narrow=True))
    keys = f"pretrain={start}", "freeze_stages=5", "feature_views=2", "epoch=1"
    text = run_repeat(workspace.config, "--seeds=2", f"--out={out}", *(f"--set=TRAIN.{k}" for k in keys))
    for what in ("10 training videos, 2 views each", "5 validation videos, 1 centre crop each"):
        said = [line for line in text.splitlines() if line.startswith(f"features of {what}: ")]
        assert len(said) == 2 and f"{what}: computed once, in " in said[0], said
        assert said[1].startswith(f"features of {what}: kept in {out / 'seed2/checkpoints/features'}"), said
    assert not (out / "seed1/checkpoints/features").exists()  # once on the disk
    one, other = ((out / f"seed{k}/checkpoints/TSN.pdparams").read_bytes() for k in (1, 2))
    assert one != other  # the seed still decides all else


def test_features_move_to_a_run_without_any_unless_another_process_writes_there(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    first, second, third = plan_runs(str(workspace.folder / "tiny.yaml"), tmp_path, 3, None, [])
    for one, text in ((first, "whole"), (second, "begun")):
        (one.checkpoints / "features").mkdir(parents=True)
        (one.checkpoints / "features" / "train").write_text(text)
    second.take_features([first])
    assert (second.checkpoints / "features" / "train").read_text() == "begun"
    with (
        lock.locked_folder(first.checkpoints, "a train.py"),
        pytest.raises(RunError, match="another run is writing there"),
    ):
        third.take_features([first])
    third.take_features([first])
    assert (third.checkpoints / "features" / "train").read_text() == "whole"
    third.take_features([])


def test_what_a_run_depends_on_tells_it_from_others(workspace, folder):
    config = str(workspace.folder / "tiny.yaml")
    sets = [f"TRAIN.filelist={folder}/train.list"]
    first, second = plan_runs(config, folder, 2, None, sets)
    assert (first.name, first.folder, first.what == second.what) == ("seed 1", folder / "seed1", False)
    assert [one.what for one in plan_runs(config, folder, 3, None, sets)][:2] == [first.what, second.what]
    with open(folder / "train.list", "a") as file:
        file.write(f"{workspace.videos[9][0]} 1\n")
    assert plan_runs(config, folder, 2, None, sets)[0].what != first.what
    assert first.known() is None
    first.folder.mkdir()
    (first.folder / "mine.txt").touch()
    with pytest.raises(InputError) as error:
        first.known()
    says(error.value, f"{first.folder}: ", "other files", "--out=DIR")
    (first.folder / "run.json").write_text("[]")
    with pytest.raises(InputError) as error:
        first.known()
    says(error.value, f"{first.folder}/run.json: ", "damaged", f"remove {first.folder}", "run again")


def test_lists_of_folds_that_do_not_fit(workspace, folder):
    config, sets = str(workspace.folder / "tiny.yaml"), [f"TRAIN.filelist={folder}/train.list"]
    with pytest.raises(InputError) as error:
        plan_runs(config, folder, None, 3, sets)
    says(error.value, f"{folder}/fold3.train.list: ", "no such list", "data/make_lists.py --folds 3")
    (folder / "fold3.train.list").touch()
    with pytest.raises(InputError) as error:
        plan_runs(config, folder, None, 2, sets)
    says(error.value, "--folds=2: ", f"{folder}/fold3.train.list exists", "more folds")


def test_many_labels_are_refused_before_anything_is_trained(workspace, tmp_path):
    with pytest.raises(InputError) as error:
        plan_runs(str(workspace.folder / "tiny.yaml"), tmp_path, 2, None, ["MODEL.labels=multi"])
    says(error.value, "MODEL.labels: multi: ", "expected single", "run train.py and eval.py")


def test_figures_and_what_they_cover():
    runs = [
        {"name": f"fold {k}", "top1_acc": 100 * right / videos, "right": right, "videos": videos, "unreadable": k - 1,
         "protocol": "8 segments", "seconds": 60.0}
        for k, (right, videos) in enumerate([(3, 4), (2, 5)], start=1)
    ]  # fmt: skip
    whole = summary(runs, folds=True)
    assert lines(whole) == [
        "  fold 1: top-1 75.00 of 4 videos",
        "  fold 2: top-1 40.00 of 5 videos",
        "top-1 of 2 runs: mean 57.50, standard deviation 24.75, 95% interval of the mean 0.00 to 100.00; 4 to 5 videos "
        "in each, unreadable in all: 1",
        "every video once: 5 of 9 right, 55.56, 95% interval 26.67 to 81.12",
        "protocol: 8 segments",
    ]
    assert "every_video_once" not in summary(runs, folds=False)
    assert (left([], 5), left(runs, 3), left(runs, 7)) == (
        "", "; about 60 s left for all", "; about 5 min left for all",
    )  # fmt: skip
    assert left([{"seconds": 600.0}, {"seconds": 10.0}, {"seconds": 12.0}], 5) == "; about 22 s left for all"
