"""Checkpoints: torn ones are recognised, the newest one is found, and the momentum comes back."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from conftest import largest_file, says
from training import manifest
from training.checkpoint import (
    Progress,
    check_files,
    copy_checkpoint,
    find_checkpoint,
    read_manifest,
    read_momentum,
    remove_checkpoint,
    remove_leftovers,
    save_checkpoint,
    set_momentum,
)  # fmt: skip
from utils.errors import InputError, RunError

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # BatchNorm1D

ABOUT = {"model": {"name": "TSN"}, "train": {"epoch": 9}, "config": "", "versions": {}}


def make_model(seed: int = 0) -> tuple[paddle.nn.Layer, paddle.optimizer.Momentum]:
    """Return a layer with BatchNorm and its optimizer, after two steps."""
    paddle.seed(seed)
    model = paddle.nn.Sequential(paddle.nn.Linear(3, 2), paddle.nn.BatchNorm1D(2))
    optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters(), weight_decay=1e-4)
    step(model, optimizer, 2)
    return model, optimizer


def step(model, optimizer, number: int) -> None:
    for i in range(number):
        (model(paddle.to_tensor(np.random.default_rng(i).random((4, 3), "float32"))) ** 3).sum().backward()
        optimizer.step()
        optimizer.clear_grad()


def save(folder: Path, name: str, **progress) -> Path:
    model, optimizer = make_model()
    save_checkpoint(folder / name, model, optimizer, Progress(**{"epoch": 1, "step": 0, "seed": 5, "videos": 8,
                                                                 "batch_size": 4, **progress}), ABOUT)  # fmt: skip
    return folder / name


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    model, optimizer = make_model()
    save_checkpoint(tmp_path / "A", model, optimizer, Progress(1, 0, 5, 8, 4), ABOUT)
    other = paddle.nn.Sequential(paddle.nn.Linear(3, 2), paddle.nn.BatchNorm1D(2))
    other.set_state_dict(paddle.load(str(tmp_path / "A.pdparams")))
    new = paddle.optimizer.Momentum(0.1, parameters=other.parameters(), weight_decay=1e-4)
    momentum = read_momentum(tmp_path / "A", other)
    assert sorted(momentum) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    assert all(np.abs(array).max() > 0 for array in momentum.values())
    set_momentum(new, other, {name: paddle.to_tensor(array) for name, array in momentum.items()}, {})
    step(model, optimizer, 2)
    step(other, new, 2)
    for name, tensor in model.state_dict().items():
        assert np.array_equal(tensor.numpy(), other.state_dict()[name].numpy()), name


def test_low_precision_weights_are_saved_and_restored_as_their_float32_copies(tmp_path):
    model = paddle.nn.Linear(3, 2).to(dtype="bfloat16")
    optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters(), multi_precision=True)
    block = paddle.static.Program().global_block()
    optimizer._create_accumulators(block, model.parameters())  # the part of a first step that the CPU supports
    weight = optimizer.state_dict()["master_weights"][model.weight.name]
    weight.set_value(np.full((3, 2), 1.0001, "float32"))  # bfloat16 would round it
    save_checkpoint(tmp_path / "A", model, optimizer, Progress(1, 0, 5, 8, 4), ABOUT)
    saved = paddle.load(str(tmp_path / "A.pdparams"), return_numpy=True)
    assert saved["weight"].dtype == np.float32 and np.all(saved["weight"] == np.float32(1.0001))

    model = paddle.nn.Linear(3, 2).to(dtype="bfloat16")
    optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters(), multi_precision=True)
    ones = {name: paddle.full(p.shape, 3.0) for name, p in model.named_parameters()}
    set_momentum(optimizer, model, ones, {name: paddle.to_tensor(saved[name]) for name in ones})
    optimizer._create_accumulators(block, model.parameters())
    state = optimizer.state_dict()
    copy = state["master_weights"][model.weight.name]
    assert np.all(copy.numpy() == np.float32(1.0001))
    assert np.all(state[f"{copy.name}_velocity_0"].numpy() == 3)


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    for epoch in (7, 3, 1):  # in the order of writing, not by epoch
        save(tmp_path, f"TSN_epoch{epoch}", epoch=epoch + 1)
    (tmp_path / "metrics.json").write_text("{}")
    checkpoint, torn = find_checkpoint("auto", str(tmp_path))
    assert (checkpoint.prefix, checkpoint.progress.epoch, torn) == (tmp_path / "TSN_epoch1", 2, [])
    for resume in ("TSN_epoch3", "TSN_epoch3.pdparams", "TSN_epoch3.pdopt", "TSN_epoch3.json"):
        found, _ = find_checkpoint(str(tmp_path / resume), "elsewhere")
        assert found.prefix == tmp_path / "TSN_epoch3", resume
    assert find_checkpoint(str(tmp_path), "elsewhere")[0].prefix == tmp_path / "TSN_epoch1"


def test_a_clock_that_was_set_back_makes_no_checkpoint_older(tmp_path, monkeypatch):
    clock = [1e9]
    monkeypatch.setattr(manifest.time, "time", lambda: clock[0])
    for epoch in (5, 0, 1):
        source = read_manifest(save(tmp_path, f"TSN_epoch{epoch}", epoch=epoch + 1))
        clock[0] -= 86400
    assert find_checkpoint("auto", str(tmp_path))[0].prefix.name == "TSN_epoch1"
    copy_checkpoint(source, tmp_path / "TSN", source.progress, ABOUT)
    assert find_checkpoint("auto", str(tmp_path))[0].prefix.name == "TSN"
    save(tmp_path, "TSN_epoch0")  # over one that was there
    assert find_checkpoint("auto", str(tmp_path))[0].prefix.name == "TSN_epoch0"


def test_checkpoints_without_a_number_are_older_and_ordered_by_time(tmp_path):
    for name, saved_at in (("A", 10), ("B", 30), ("C", 20)):
        save(tmp_path, name)
        content = json.loads((tmp_path / f"{name}.json").read_text())
        del content["number"]
        (tmp_path / f"{name}.json").write_text(json.dumps({**content, "saved_at": saved_at}))
    assert find_checkpoint("auto", str(tmp_path))[0].prefix.name == "B"
    (tmp_path / "broken.json").write_text("{")
    save(tmp_path, "D")
    change(saved_at=5)(tmp_path / "D.json")
    assert find_checkpoint("auto", str(tmp_path))[0].prefix.name == "D"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change(**values):
    def write(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return write


FOREIGN = "B.json: not a manifest of this checkpoint ("
TEARS = [
    (".pdparams", cut, "torn checkpoint: B.pdparams is not the file its manifest describes"),
    (".pdparams", flip, "torn checkpoint: B.pdparams is not the file its manifest describes"),
    (".pdparams", Path.unlink, "torn checkpoint: B.pdparams is missing"),
    (".pdopt", cut, "torn checkpoint: B.pdopt is not the file its manifest describes"),
    (".pdopt", Path.unlink, "torn checkpoint: B.pdopt is missing"),
    (".json", Path.unlink, "torn checkpoint: B.json is missing"),
    (".json", lambda path: path.write_text(path.read_text()[:100]), FOREIGN + "JSONDecodeError: Expecting "),
    (".json", lambda path: path.write_text("[]"), FOREIGN + "TypeError: "),
    (".json", lambda path: path.write_text("{}"), FOREIGN + "KeyError: 'progress')"),
    (".json", lambda path: path.write_bytes(b"{\xff}"), FOREIGN + "UnicodeDecodeError: "),
    (".json", lambda path: path.write_text("[" * 100_000), FOREIGN + "RecursionError: "),
    (".json", change(progress={"epoch": 1}), FOREIGN + "TypeError: "),
    (".json", change(progress={"epoch": "1", "step": 0, "seed": 5, "videos": 8, "batch_size": 4}),
     FOREIGN + "ValueError: epoch is '1')"),
    (".json", change(number="1"), FOREIGN + "ValueError: number is '1')"),
    (".json", change(number=-1), FOREIGN + "ValueError: number is -1)"),
    (".json", change(data={"list": 1}), FOREIGN + "ValueError: data holds what is no digest)"),
    (".json", change(data=[1]), FOREIGN + "TypeError: "),
    (".json", change(format=2), FOREIGN + "ValueError: unknown format)"),
    (".json", change(engine="cinn"), FOREIGN + "ValueError: engine is 'cinn')"),
    (".json", change(files={}), FOREIGN + "KeyError: 'B.pdparams')"),
    (".json", lambda path: shutil.copy(path.with_name("A.json"), path),
     FOREIGN + "KeyError: 'B.pdparams')"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "tear", "message"), TEARS)
def test_a_torn_or_foreign_checkpoint_is_named(tmp_path, suffix, tear, message):
    save(tmp_path, "A")
    save(tmp_path, "B")
    tear(tmp_path / f"B{suffix}")
    checkpoint, torn = find_checkpoint("auto", str(tmp_path))
    assert checkpoint.prefix == tmp_path / "A"
    assert len(torn) == 1 and message in torn[0] and "\n" not in torn[0]
    with pytest.raises(InputError) as error:
        find_checkpoint(str(tmp_path / "B.pdopt"), "elsewhere")
    assert message in str(error.value)
    remove_checkpoint(tmp_path / "A")
    with pytest.raises(InputError) as error:
        find_checkpoint("auto", str(tmp_path))
    says(error.value, "--resume=auto: ", f"no whole checkpoint in {tmp_path}; ", torn[0])


def test_a_run_starts_if_its_first_checkpoint_was_cut_off(tmp_path):
    save(tmp_path, "TSN_epoch0_step1")
    (tmp_path / "TSN_epoch0_step1.json").unlink()
    checkpoint, [torn] = find_checkpoint("auto", str(tmp_path))
    assert checkpoint is None
    says(torn, f"{tmp_path}/TSN_epoch0_step1: ", "torn checkpoint", "TSN_epoch0_step1.json is missing")
    assert find_checkpoint("auto", str(tmp_path / "nowhere")) == (None, [])


def test_what_resume_says_when_there_is_nothing(tmp_path):
    with pytest.raises(InputError) as error:
        find_checkpoint("x/TSN", str(tmp_path))
    says(error.value, "--resume=x/TSN: ", "no such file, folder or checkpoint")
    with pytest.raises(InputError) as error:
        find_checkpoint(str(tmp_path), "elsewhere")
    says(error.value, f"--resume={tmp_path}: ", f"no whole checkpoint in {tmp_path}")
    save(tmp_path, "A")
    (tmp_path / "A.json").unlink()
    with pytest.raises(InputError) as error:
        find_checkpoint(str(tmp_path / "A"), "elsewhere")
    says(error.value, f"--resume={tmp_path}/A: ", "A.json is missing", f"--resume={tmp_path}/A.pdparams", "epoch 0")


def test_a_copy_is_a_checkpoint_of_its_own(tmp_path):
    source = read_manifest(save(tmp_path, "A"))
    target = tmp_path / "B"
    for _ in range(2):  # the second copy replaces the first
        copy_checkpoint(source, target, replace(source.progress, epoch=4), ABOUT)
        copy = read_manifest(target)
        check_files(copy)
        assert copy.progress.epoch == 4 and copy.order > source.order
        assert (tmp_path / "A.pdparams").samefile(tmp_path / "B.pdparams")
    save(tmp_path, "A", seed=6)  # a new file, not into the old one
    check_files(read_manifest(target))
    assert not (tmp_path / "A.pdparams").samefile(tmp_path / "B.pdparams")
    assert not list(tmp_path.glob(".*"))


def test_a_file_system_without_hard_links_gets_a_true_copy(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    source = read_manifest(save(tmp_path, "A"))
    monkeypatch.setattr(os, "link", refuse)
    check_files(copy_checkpoint(source, tmp_path / "B", source.progress, ABOUT))
    assert not (tmp_path / "A.pdparams").samefile(tmp_path / "B.pdparams")


def test_a_folder_that_is_gone_is_named_and_not_made_anew(tmp_path):
    (tmp_path / "gone").mkdir()
    source = read_manifest(save(tmp_path / "gone", "A"))
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(RunError) as error:
        save(tmp_path / "gone", "A")
    says(error.value, f"{tmp_path}/gone/A.pdparams: ", "No such file or directory")
    with pytest.raises(RunError) as error:
        copy_checkpoint(source, tmp_path / "gone" / "B", source.progress, ABOUT)
    says(error.value, f"{tmp_path}/gone/B.pdparams: ", "No such file or directory")
    assert not (tmp_path / "gone").exists()


def test_momentum_of_another_model_is_named(tmp_path):
    save(tmp_path, "A")
    wider = paddle.nn.Sequential(paddle.nn.Linear(4, 2), paddle.nn.BatchNorm1D(2))
    with pytest.raises(InputError) as error:
        read_momentum(tmp_path / "A", wider)
    says(error.value, f"{tmp_path}/A.pdopt: ", "[4, 2]", "0.weight")
    with pytest.raises(InputError) as error:
        read_momentum(tmp_path / "A", paddle.nn.Sequential(paddle.nn.Linear(3, 2)))
    says(error.value, f"{tmp_path}/A.pdopt: ", "unknown parameters", "1.bias, 1.weight")
    (tmp_path / "A.pdopt").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(InputError) as error:
        read_momentum(tmp_path / "A", wider)
    says(error.value, f"{tmp_path}/A.pdopt: ", "not the momentum of a checkpoint", "'os.system'")


def test_only_half_written_files_are_cleared_away(tmp_path):
    leftovers = [".TSN_epoch0.pdparams.4711.tmp", ".TSN.json.1.tmp", ".train_log.jsonl.22.tmp", ".config.yaml.9.tmp"]
    leftovers.append(".report.html.12.tmp")
    others = ["TSN.pdparams", ".mine.tmp", ".notes.txt.12.tmp", "x.pdparams.12.tmp"]
    for name in leftovers + others:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize(("size", "left"), [(100, ["A.json", "A.pdopt", "A.pdparams"]), (8000, [])])
def test_half_a_checkpoint_does_not_stay_on_a_full_disk(tmp_path, size, left):
    """If the weights do not fit, the old checkpoint stays. If only the manifest does not fit, all its files go."""
    model, optimizer = make_model()
    save_checkpoint(tmp_path / "A", model, optimizer, Progress(1, 0, 5, 8, 4), ABOUT)
    about = ABOUT | {"config": "x" * 20_000}
    with largest_file(size), pytest.raises(RunError, match="cannot be written: File too large"):
        save_checkpoint(tmp_path / "A", model, optimizer, Progress(2, 0, 5, 8, 4), about)
    assert sorted(path.name for path in tmp_path.iterdir()) == left
