"""Training in either engine: the same numbers as near as float32 has them, the same bits in every run."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

from conftest import ROOT, run_script
from fault_tools import train_narrow
from training.engine import set_engine
from utils.errors import InputError

# Rounding alone: what a convolution's sum of some thousand products loses in float32, in any order.
ROUNDING = 1e-5


def run_program(*arguments: str) -> object:
    """What engine_program.py prints."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("engine_program.py")), *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def found() -> dict:
    return run_program()


@pytest.mark.parametrize("num_layers", [18, 50])
def test_gradients_are_as_near_to_float64_as_those_of_eager(found, num_layers):
    eager, onednn = (statistics.median(found[f"distances {num_layers} {kind}"]) for kind in ("eager", "onednn"))
    assert onednn <= max(1.5 * eager, ROUNDING)


@pytest.mark.parametrize("case", ["plain", "seglen", "frozen", "accumulated", "stages"])
def test_losses_of_training_are_those_of_eager(found, case):
    eager, onednn = (found[f"losses {case} {kind}"] for kind in ("eager", "onednn"))
    assert onednn["train"][:3] == pytest.approx(eager["train"][:3], rel=1e-3)
    assert onednn["train"] == pytest.approx(eager["train"], rel=0.05)
    assert sum(onednn["weights"]) == pytest.approx(sum(eager["weights"]), rel=1e-4)


@pytest.mark.parametrize("case", ["plain", "seglen", "frozen", "accumulated", "stages"])
def test_an_evaluation_within_training_sees_the_weights_of_the_moment(found, case):
    eager, onednn = (found[f"losses {case} {kind}"]["eval"] for kind in ("eager", "onednn"))
    assert onednn[:3] == pytest.approx(eager[:3], rel=1e-3)


def test_two_runs_are_equal_to_the_bit(found):
    assert found["again"] == found["losses plain onednn"]


def test_a_smaller_batch_needs_no_graph_of_its_own(found):
    one_size, several_sizes = found["graphs"]
    assert one_size == several_sizes


def test_memory():
    eager, onednn = run_program("eager"), run_program("onednn")
    assert onednn <= 1.3 * eager


def test_a_run_goes_on_in_the_other_engine(workspace, tmp_path):
    flags = ("--resume=auto", "--valid_interval=0", "--report=False")
    eager = ("--set", "TRAIN.engine=eager")
    first = train_narrow(workspace, tmp_path / "run", "--epoch=1", *flags, *eager)
    assert "training engine: eager\n" in first.output
    second = train_narrow(workspace, tmp_path / "run", "--epoch=2", *flags)
    # Those threads that OMP_NUM_THREADS allows.
    assert "training engine: onednn, threads: 1\n" in second.output and "epoch 1, iter 0" in second.output
    third = train_narrow(workspace, tmp_path / "run", "--epoch=3", *flags, *eager)
    assert "epoch 2, iter 0" in third.output


def test_onednn_is_not_for_a_gpu():
    with pytest.raises(InputError, match=r"^TRAIN.engine is onednn, which is for the CPU; this run is on a GPU"):
        set_engine(paddle.nn.Linear(1, 1), "onednn", "gpu")
    assert set_engine(paddle.nn.Linear(1, 1), "auto", "gpu") == "eager"


@pytest.mark.parametrize("wanted", ["auto", "onednn"])
def test_a_paddle_that_cannot_trains_eagerly_and_says_so(wanted, capsys):
    # In this process paddle was imported with its newer graphs, which have no such operators.
    assert paddle.framework.use_pir_api()
    model = paddle.nn.Conv2D(3, 4, 3, bias_attr=False)
    assert set_engine(model, wanted, "cpu") == "eager"
    assert capsys.readouterr().out == (
        f"TRAIN.engine {wanted}: this Paddle cannot train with oneDNN (paddle was imported before "
        "inference.start.set_environment was called)\ntraining engine: eager\n"
    )
    assert "forward" not in vars(model)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (AttributeError("no such\nhook"), "AttributeError: hook"),
        (NotImplementedError(), "NotImplementedError: without a word"),
        (None, "its results are wrong"),
    ],
)
def test_what_is_tried_first(monkeypatch, capsys, outcome, reason):
    def graph(x, weight, geometry):
        if outcome:
            raise outcome
        return lambda inputs: 1.001 * paddle.nn.functional.conv2d(*inputs, None, 2, 1) + 0.01

    monkeypatch.setattr("training.engine._graph", graph)
    monkeypatch.setattr("paddle.framework.use_pir_api", lambda: False)
    assert set_engine(paddle.nn.Conv2D(3, 4, 3, bias_attr=False), "auto", "cpu") == "eager"
    assert f"this Paddle cannot train with oneDNN ({reason})\n" in capsys.readouterr().out


def test_the_engine_is_a_choice(workspace):
    result = run_script("train", workspace.config, "--pretrain=none", "--set", "TRAIN.engine=cinn")
    assert result.returncode == 2
    assert "--set TRAIN.engine=cinn: expected one of auto, eager, onednn, not cinn" in result.stderr
