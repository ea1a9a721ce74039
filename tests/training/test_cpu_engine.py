"""Both engines train with the same numbers up to float32 rounding, and each run with the same bits."""

import json
import os
import re
import statistics
from pathlib import Path
from types import SimpleNamespace

import paddle
import pytest

from conftest import ROOT, run_python, run_script, says
from fault_tools import manifest, train_narrow
from training.cpu_engine import set_engine
from training.timing import StepTimes, time_steps
from utils.errors import InputError
from utils.processes.ranks import World

# What rounding costs the sum of some thousand products in float32, in any order.
ROUNDING = 1e-5


def run_program(*arguments: str) -> object:
    """Return the output of engine_program.py."""
    program = Path(__file__).with_name("engine_program.py")
    ended = run_python([str(program), *arguments], {**os.environ}, ROOT, 300, kind="train")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def found() -> dict:
    return run_program()


def test_gradients_are_as_close_to_float64_as_those_of_eager(found):
    eager, onednn = (statistics.median(found[f"distances {kind}"]) for kind in ("eager", "onednn"))
    assert onednn <= max(1.5 * eager, ROUNDING)
    assert max(found["convolutions"].values()) <= ROUNDING


@pytest.mark.parametrize("case", ["plain", "seglen", "frozen", "accumulated", "stages"])
def test_losses_of_training_are_those_of_eager(found, case):
    eager, onednn = (found[f"losses {case} {kind}"] for kind in ("eager", "onednn"))
    assert onednn["train"][:3] == pytest.approx(eager["train"][:3], rel=1e-3)
    assert onednn["train"] == pytest.approx(eager["train"], rel=0.05)
    assert sum(onednn["weights"]) == pytest.approx(sum(eager["weights"]), rel=1e-4)


@pytest.mark.parametrize("case", ["plain", "seglen", "frozen", "accumulated", "stages"])
def test_an_evaluation_within_training_sees_the_current_weights(found, case):
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
    flags = ("--resume=auto", "--valid_interval=0")
    eager, onednn, auto = (("--set", f"TRAIN.engine={engine}") for engine in ("eager", "onednn", "auto"))
    first = train_narrow(workspace, tmp_path / "run", "--epoch=1", *flags, *eager)
    assert "engine: eager\n" in first.output and manifest(first.save_dir)["engine"] == "eager"
    second = train_narrow(workspace, tmp_path / "run", "--epoch=2", *flags, *onednn)
    # OMP_NUM_THREADS sets the threads.
    assert "engine: onednn, threads: 1\n" in second.output and "epoch 1, iter 0" in second.output
    third = train_narrow(workspace, tmp_path / "run", "--epoch=3", *flags, *auto)
    assert "engine: onednn, threads: 1 (auto: the checkpoint's)\n" in third.output
    assert "epoch 2, iter 0" in third.output and manifest(third.save_dir)["engine"] == "onednn"


def test_auto_measures_both_engines_and_trains_like_the_faster_one(workspace, tmp_path):
    """Two processes take the same engine. The weights are, to the bit, those of a run with this engine set."""
    flags = ("--epoch=1", "--valid_interval=0", "--nproc=2")
    measured = train_narrow(workspace, tmp_path / "measured", *flags, "--set", "TRAIN.engine=auto")
    chosen, seconds = r"(?:eager|onednn, threads: 1)", r"[\d.e+-]+ s"
    line = rf"engine: {chosen} \(auto: a step of [2-6] frames takes {seconds}, (\w+) {seconds}\)"
    [other] = re.findall(f"^{line}$", measured.output, re.MULTILINE)
    engine = manifest(measured.save_dir)["engine"]
    assert {engine, other} == {"eager", "onednn"}
    given = train_narrow(workspace, tmp_path / "given", *flags, "--set", f"TRAIN.engine={engine}")
    for name in ("TSN.pdparams", "TSN.pdopt"):
        assert (measured.save_dir / name).read_bytes() == (given.save_dir / name).read_bytes()


@pytest.mark.parametrize("engine", ["eager", "onednn"])
def test_measuring_changes_nothing(found, engine):
    assert found[f"losses dropout {engine} measured"] == found[f"losses dropout {engine}"]


def test_measuring_leaves_no_gradients(found):
    measured = found["measured"]
    assert 2 <= measured["frames"] <= 8 and min(measured["seconds"].values()) > 0
    assert measured["gradients"] == 0


@pytest.fixture
def convolution(monkeypatch) -> paddle.nn.Layer:
    """Provide a model that oneDNN can train."""
    monkeypatch.setattr("training.cpu_engine.find_problem", lambda: "")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    return paddle.nn.Conv2D(3, 4, 3, bias_attr=False)


@pytest.mark.parametrize(
    ("seconds", "engine", "line"),
    [
        ((0.55, 0.2149), "onednn", "onednn, threads: 3 (auto: a step of 4 frames takes 0.21 s, eager 0.55 s)"),
        ((4.05, 4.38), "eager", "eager (auto: a step of 4 frames takes 4 s, onednn 4.4 s)"),
    ],
)
def test_auto_takes_the_faster_engine(convolution, monkeypatch, capsys, seconds, engine, line):
    def time_steps(model, use, batch):
        assert (model, batch) == (convolution, (8, 3, 32, 32, 3))
        use("onednn")
        return StepTimes(4, dict(zip(("eager", "onednn"), seconds)))

    monkeypatch.setattr("training.cpu_engine.time_steps", time_steps)
    assert set_engine(convolution, "auto", "cpu", batch=(8, 3, 32, 32, 3)) == engine
    assert capsys.readouterr().out == f"engine: {line}\n"
    assert ("forward" in vars(convolution)) == (engine == "onednn")


@pytest.mark.parametrize(("recorded", "line"), [("onednn", "onednn, threads: 3"), ("eager", "eager")])
def test_auto_takes_the_engine_of_the_checkpoint(convolution, capsys, recorded, line):
    assert set_engine(convolution, "auto", "cpu", recorded=recorded) == recorded
    assert capsys.readouterr().out == f"engine: {line} (auto: the checkpoint's)\n"


@pytest.mark.parametrize("engine", ["eager", "onednn"])
def test_a_set_engine_overrides_the_checkpoints(convolution, capsys, engine):
    for recorded in ("eager", "onednn", ""):
        assert set_engine(convolution, engine, "cpu", recorded=recorded) == engine
    assert "auto" not in capsys.readouterr().out


class FirstRank:
    """A channel to a rank 0 that sends these values in turn."""

    def __init__(self, *theirs):
        self._theirs = iter(theirs)

    def exchange(self, value):
        return [next(self._theirs), value]


def test_all_ranks_take_the_engine_that_rank_0_measured(convolution, monkeypatch, capsys):
    monkeypatch.setattr("training.cpu_engine.time_steps", lambda *_: StepTimes(4, {"eager": 1.0, "onednn": 2.0}))
    world = World(1, 2, FirstRank("", "", StepTimes(6, {"eager": 2.0, "onednn": 1.0})))
    assert set_engine(convolution, "auto", "cpu", world, (8, 3, 32, 32, 3)) == "onednn"
    line = "engine: onednn, threads: 3 (auto: a step of 6 frames takes 1 s, eager 2 s)\n"
    assert capsys.readouterr().out == line


def test_all_ranks_train_eagerly_if_one_has_no_onednn(convolution, capsys):
    assert set_engine(convolution, "auto", "cpu", World(1, 2, FirstRank("onednn", "no hook"))) == "eager"
    assert capsys.readouterr().out == (
        "the checkpoint's engine onednn: this Paddle cannot train with oneDNN (no hook)\nengine: eager\n"
    )


@pytest.mark.parametrize(
    ("per_frame", "most", "frames", "rounds"),
    [(0.001, 15, 15, 3), (0.05, 30, 30, 1), (0.25, 15, 6, 1), (0.1, 4, 4, 3), (2, 15, 2, 1), (2, 1, 1, 1)],
)
def test_measuring_takes_some_seconds_at_most(monkeypatch, per_frame, most, frames, rounds):
    """Eager takes `per_frame` seconds, and oneDNN half of that. The first step of each does not count."""
    clock, engine, steps = 0.0, "", []

    def use(name):
        nonlocal engine
        engine = name

    def time_step(model, video):
        nonlocal clock
        seconds = per_frame * video.shape[1] / (2 if engine == "onednn" else 1)
        clock, _ = clock + seconds, steps.append((engine, video.shape[1]))
        return seconds

    monkeypatch.setattr("training.timing._time_step", time_step)
    monkeypatch.setattr("training.timing.time", SimpleNamespace(perf_counter=lambda: clock))
    times = time_steps(paddle.nn.Linear(1, 1), use, (most, 1, 8, 8, 3))
    few = min(2, most)
    estimates = [("eager", few)] * (1 if per_frame * few >= 1.5 else 2)
    assert steps == [*estimates, ("onednn", frames), *[("eager", frames), ("onednn", frames)] * rounds]
    assert times == StepTimes(frames, {"eager": per_frame * frames, "onednn": per_frame * frames / 2})


def test_onednn_is_not_for_a_gpu():
    with pytest.raises(InputError) as error:
        set_engine(paddle.nn.Linear(1, 1), "onednn", "gpu")
    says(error.value, "TRAIN.engine is onednn", "for the CPU", "on a GPU")
    assert set_engine(paddle.nn.Linear(1, 1), "auto", "gpu") == "eager"


@pytest.mark.parametrize("wanted", ["auto", "onednn"])
def test_a_paddle_without_onednn_trains_eagerly_and_says_so(wanted, capsys):
    # This process imported paddle with its newer graphs, which lack oneDNN's operators.
    assert paddle.framework.use_pir_api()
    model = paddle.nn.Conv2D(3, 4, 3, bias_attr=False)
    assert set_engine(model, wanted, "cpu") == "eager"
    assert capsys.readouterr().out == (
        f"TRAIN.engine {wanted}: this Paddle cannot train with oneDNN (paddle was imported before "
        "training.environment.set_environment was called)\nengine: eager\n"
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
def test_a_convolution_is_tried_first(monkeypatch, capsys, outcome, reason):
    def graph(x, weight, geometry):
        if outcome:
            raise outcome
        return lambda inputs: 1.001 * paddle.nn.functional.conv2d(*inputs, None, 2, 1) + 0.01

    monkeypatch.setattr("training.onednn._graph", graph)
    monkeypatch.setattr("paddle.framework.use_pir_api", lambda: False)
    assert set_engine(paddle.nn.Conv2D(3, 4, 3, bias_attr=False), "auto", "cpu") == "eager"
    assert f"this Paddle cannot train with oneDNN ({reason})\n" in capsys.readouterr().out


def test_the_engine_is_a_choice(workspace):
    result = run_script("train", workspace.config, "--pretrain=none", "--set", "TRAIN.engine=cinn")
    assert result.returncode == 2
    assert "--set TRAIN.engine=cinn: expected one of auto, eager, onednn, not cinn" in result.stderr
