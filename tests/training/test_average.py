"""The weights' moving average by hand, and runs that validate, save and resume it, and that end early."""

import re
import signal
from pathlib import Path

import numpy as np
import paddle
import pytest

from fault_tools import manifest, narrow_at, steps, train_narrow
from inference.eager import eager_start
from models.weights.fitting import load_model
from models.weights.reading import read_weights
from narrow import narrow
from reader.build import clip_spec, read_section_list
from reader.dataset import read_clip
from training.average import MovingAverage
from training.checkpoint import Progress, read_momentum, save_checkpoint, set_own, stepped
from training.verdict import out_of_patience
from utils.config.loading import load_config

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # BatchNorm1D


def normed() -> paddle.nn.Layer:
    """Return a frozen layer, a trained one, and a BatchNorm in training mode."""
    model = paddle.nn.Sequential(paddle.nn.Linear(1, 1), paddle.nn.Linear(1, 1), paddle.nn.BatchNorm2D(1))
    for parameter in model[0].parameters():
        parameter.stop_gradient = True
    return model


def followed(decay: float, model: paddle.nn.Layer) -> MovingAverage:
    average = MovingAverage(decay, model)
    average.follow({})
    return average


def test_steps_of_the_average():
    """The decay is 2/11 after the first step and 3/12 after the second, or TRAIN.ema if that is less."""
    model = normed()
    names = ["1.bias", "1.weight", "2._mean", "2._variance", "2.bias", "2.weight"]
    for decay, kept in ((0.999, (2 / 11, 3 / 12)), (0.2, (2 / 11, 0.2))):
        average, weight = followed(decay, model), model[1].weight
        assert sorted(average.tensors) == names
        assert [id(t) for t in average.statistics] == [id(average.tensors[f"2._{n}"]) for n in ("mean", "variance")]
        expected = weight.item()
        for step, d in enumerate(kept, start=1):
            weight.set_value(weight + 3.0)
            expected = d * expected + (1 - d) * weight.item()
            average.update(step)
            assert average.tensors["1.weight"].item() == pytest.approx(expected, rel=1e-6)
    nothing = followed(0.0, model)
    nothing.update(1)
    assert not nothing.tensors and not nothing.statistics


def test_the_model_shows_the_average_and_has_its_own_weights_again():
    model = normed()
    average = followed(0.5, model)
    average.tensors["1.weight"].set_value(paddle.full([1, 1], 7.0))
    average.tensors["2._mean"].set_value(paddle.full([1], 5.0))
    model[2]._mean.set_value(paddle.full([1], 1 / 3))
    own = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    model.eval()  # as validation does first
    with pytest.raises(KeyboardInterrupt), average.shown():
        assert (model[1].weight.item(), model[2]._mean.item()) == (7.0, 5.0)
        raise KeyboardInterrupt
    assert all(np.array_equal(own[name], tensor.numpy()) for name, tensor in model.state_dict().items())


def test_low_precision_weights_are_averaged_in_float32():
    model = paddle.nn.Linear(1, 1, bias_attr=False)
    average = MovingAverage(0.999, model)
    model.to(dtype="bfloat16")
    optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters(), multi_precision=True)
    optimizer._create_accumulators(paddle.static.Program().global_block(), model.parameters())
    average.follow(stepped(model, optimizer))
    optimizer.state_dict()["master_weights"][model.weight.name].set_value(np.full((1, 1), 1.0001, "float32"))
    average.tensors["weight"].set_value(paddle.full([1, 1], 1.0001))
    average.update(1)
    assert average.tensors["weight"].item() == pytest.approx(1.0001, rel=1e-6)  # bfloat16 would make it 1
    with average.shown():
        assert model.weight.dtype == paddle.bfloat16 and model.weight.astype("float32").item() == 1.0


def test_a_checkpoint_has_the_average_and_what_training_goes_on_with(small, about, tmp_path):
    model, optimizer = small
    average = followed(0.5, model)
    average.tensors["weight"].set_value(paddle.full([1, 2], 7.0))
    own = model.weight.numpy().copy()
    save_checkpoint(tmp_path / "A", model, optimizer, Progress(1, 0, 5, 10, 4), about, average.tensors)
    other = paddle.nn.Linear(1, 2)
    other.set_state_dict(paddle.load(str(tmp_path / "A.pdparams")))
    assert other.weight.numpy().tolist() == [[7.0, 7.0]]
    set_own(other, read_momentum(tmp_path / "A", other))
    assert np.array_equal(other.weight.numpy(), own)


@pytest.mark.parametrize(
    ("not_better", "patience", "ends"), [(0, 0, False), (9, 0, False), (1, 2, False), (2, 2, True)]
)
def test_patience(not_better, patience, ends):
    line = out_of_patience(Progress(7, 0, 5, 10, 4, best_top1=81.2, best_epoch=4, not_better=not_better), patience)
    said = "training ends after 7 epochs: 2 validations without a better one than top1_acc 81.20 of epoch 4 "
    assert line == (f"{said}(TRAIN.patience 2)" if ends else "")


def test_a_run_validates_and_saves_the_average_and_ends_early_however_often_it_is_stopped(
    workspace, tmp_path, monkeypatch
):
    """BatchNorm is in training mode, so its statistics are averaged too."""
    keys = ("ema=0.8", "patience=2", "learning_rate=0.0001", "checkpoint_minutes=0.00001")
    flags = ["--epoch=9", "--resume=auto", *(f for key in keys for f in ("--set", f"TRAIN.{key}"))]
    alone = train_narrow(workspace, tmp_path / "alone", *flags)
    save_dir, progress = alone.save_dir, manifest(alone.save_dir)["progress"]
    assert (progress["not_better"], progress["epoch"]) == (2, progress["best_epoch"] + 3) and progress["epoch"] < 9
    assert f"training ends after {progress['epoch']} epochs: 2 validations without a better one than" in alone.output

    killed = narrow_at(workspace, tmp_path, "Epoch 1, iter 1", *flags)
    killed.signal(signal.SIGKILL).ends(-signal.SIGKILL)
    resumed = train_narrow(workspace, tmp_path, *flags)
    assert re.search("resumed from .*: epoch 1, iter [12]\n", resumed.output)
    for name in ("TSN.pdparams", "TSN.pdopt", "TSN_best.pdparams"):
        assert (resumed.save_dir / name).read_bytes() == (save_dir / name).read_bytes(), name
    assert steps(resumed.save_dir) == steps(save_dir)
    again = train_narrow(workspace, tmp_path, *flags)
    assert "training ends after" in again.output and "Epoch" not in again.output

    average, own = validation_losses(save_dir, monkeypatch)
    logged = [line[3] for line in steps(save_dir) if line[0] == "valid"][-1]
    assert average == pytest.approx(logged, rel=1e-4) and abs(own - logged) > 1e-3
    assert not any(name.startswith("trained ") for name in read_weights(save_dir / "TSN.pdparams"))


def test_two_processes_validate_and_save_one_average(workspace, tmp_path, monkeypatch):
    """Until then, each process has its own statistics of BatchNorm."""
    keys = ("ema=0.8", "learning_rate=0.0001", "accumulate_steps=2")
    flags = ["--nproc=2", "--batch_size=2", *(f for key in keys for f in ("--set", f"TRAIN.{key}"))]
    save_dir = train_narrow(workspace, tmp_path, "--epoch=1", *flags).save_dir
    assert validation_losses(save_dir, monkeypatch)[0] == pytest.approx(steps(save_dir)[-1][3], rel=1e-5)


def validation_losses(save_dir: Path, monkeypatch) -> tuple[float, float]:
    """Return a run's validation loss with the weights of TSN.pdparams, and with the weights of the last step."""
    narrow(monkeypatch.setattr)
    config = load_config(save_dir / "config.yaml")
    model = load_model(config.model, save_dir / "TSN.pdparams")
    entries = read_section_list(config, config.valid)
    clips = np.stack([read_clip(clip_spec(config.valid), entry.path)[0] for entry in entries])
    labels = paddle.to_tensor([entry.label for entry in entries])

    def loss() -> float:
        return paddle.nn.functional.cross_entropy(paddle.to_tensor(eager_start(model)(clips)().logits), labels).item()

    average = loss()
    set_own(model, read_momentum(save_dir / "TSN", model))
    return average, loss()
