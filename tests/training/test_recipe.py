"""The parts of a recipe against values computed by hand; runs with all of them, killed, resumed, in two processes."""

import math
import re
import signal
import time
from pathlib import Path

import numpy as np
import paddle
import pytest

from conftest import ROOT, write_list
from fault_tools import NarrowTraining, Training, difference, manifest, narrow_at, steps, train_narrow, wait_for
from models.pptsm_v2 import PPTSMv2
from models.tsm import TSM
from models.tsn import TSN
from narrow import narrow
from training.amp import Amp, moving_statistics
from training.recipe import Objective, build_optimizer, class_weights, freeze_stages, mixup_share, partners
from training.schedule import build_schedule
from utils.config.loading import load_config
from utils.config.train_keys import TrainConfig


@pytest.fixture(autouse=True)
def narrow_networks(monkeypatch):
    narrow(monkeypatch.setattr)


# --- the optimizer ------------------------------------------------------------------------------------------------

START = {"body.weight": 2.0, "body.bias": -1.0, "fc.weight": 3.0, "fc.bias": 1.0}
GRADIENT = {"body.weight": 1.0, "body.bias": 2.0, "fc.weight": -2.0, "fc.bias": 4.0}  # its length is 5


class Tiny(paddle.nn.Layer):
    """A model of four numbers; the biases have one dimension."""

    classifier_prefix = "fc."

    def __init__(self):
        super().__init__()
        self.body, self.fc = paddle.nn.Linear(1, 1), paddle.nn.Linear(1, 1)
        for name, parameter in self.named_parameters():
            parameter.set_value(paddle.full_like(parameter, START[name]))

    def values(self) -> dict[str, float]:
        return {name: parameter.item() for name, parameter in self.named_parameters()}


def trained(steps: int = 1, accumulate: int = 1, **recipe) -> dict[str, float]:
    """Return the numbers after steps of rate 0.1. Each step has the same gradient, in `accumulate` parts."""
    model = Tiny()
    settings = {"learning_rate": 0.1, "l2_weight_decay": 0.0, "momentum": 0.5, **recipe}
    optimizer = build_optimizer(model, TrainConfig(**settings))
    for _ in range(steps):
        for _ in range(accumulate):
            sum((p * GRADIENT[name] / accumulate).sum() for name, p in model.named_parameters()).backward()
        optimizer.step()
        optimizer.clear_grad()
    return model.values()


@pytest.mark.parametrize(("steps", "recipe", "expected"), [
    # w - 0.1 * g; then v = 0.5 * g + g
    (1, {}, (1.9, -1.2, 3.2, 0.6)),
    (2, {}, (1.75, -1.5, 3.5, 0.0)),
    # w - 0.1 * (g + 0.5 * v): of v = g, and then of v = 1.5 * g
    (1, {"nesterov": True}, (1.85, -1.3, 3.3, 0.4)),
    (2, {"nesterov": True}, (1.675, -1.65, 3.65, -0.3)),
    # g + 0.2 * w
    (1, {"l2_weight_decay": 0.2}, (1.86, -1.18, 3.14, 0.58)),
    (1, {"l2_weight_decay": 0.2, "no_decay_on_bn_and_bias": True}, (1.86, -1.2, 3.14, 0.6)),
    # the classifier at 5 and 10 times the rate, its penalty too
    (1, {"classifier_learning_rate": 5.0}, (1.9, -1.2, 4.0, -3.0)),
    (1, {"classifier_learning_rate": 5.0, "l2_weight_decay": 0.2}, (1.86, -1.18, 3.7, -3.2)),
    (1, {"classifier_learning_rate": 1.0}, (1.9, -1.2, 3.2, 0.2)),
    # g * 1 / 5, as one vector; a shorter gradient stays
    (1, {"clip_gradient_norm": 1.0}, (1.98, -1.04, 3.04, 0.92)),
    (1, {"clip_gradient_norm": 6.0}, (1.9, -1.2, 3.2, 0.6)),
    # the penalty is not clipped: g / 5 + 0.2 * w
    (1, {"clip_gradient_norm": 1.0, "l2_weight_decay": 0.2}, (1.94, -1.02, 2.98, 0.9)),
    # g / 5 + 0.2 * w for the weights alone, 1.5 times it with Nesterov's momentum, times 1, 1, 5 and 10
    (1, {"clip_gradient_norm": 1.0, "l2_weight_decay": 0.2, "no_decay_on_bn_and_bias": True, "nesterov": True,
         "classifier_learning_rate": 5.0}, (1.91, -1.06, 2.85, -0.2)),
])  # fmt: skip
def test_steps_of_the_optimizer(steps, recipe, expected):
    found = trained(steps, **recipe)
    assert found == pytest.approx(dict(zip(START, expected)), abs=1e-6)
    assert trained(steps, accumulate=2, **recipe) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("recipe", [
    {},
    {"nesterov": True, "no_decay_on_bn_and_bias": True, "classifier_learning_rate": 5.0},
    {"clip_gradient_norm": 0.5},
])  # fmt: skip
def test_all_weights_are_stepped_in_one_call_to_the_same_bits(recipe):
    """Paddle's other operator steps them one by one."""
    ends = []
    for together in (True, False):
        model = Tiny()
        optimizer = build_optimizer(model, TrainConfig(learning_rate=0.1, **recipe))
        assert optimizer._use_multi_tensor
        optimizer._use_multi_tensor = together
        for _ in range(3):
            sum((p * p * GRADIENT[name] / 3).sum() for name, p in model.named_parameters()).backward()
            optimizer.step()
            optimizer.clear_grad()
        ends.append((model.values(), [value.item() for value in optimizer.state_dict().values() if value.size == 1]))
    assert ends[0] == ends[1]
    assert not build_optimizer(Tiny(), TrainConfig(amp="O2"))._use_multi_tensor  # a GPU cannot in bfloat16


def test_batch_norm_and_the_classifiers_bias_have_no_penalty():
    model = TSN(3, num_layers=18)
    build_optimizer(model, TrainConfig(no_decay_on_bn_and_bias=True))
    without = {name for name, p in model.named_parameters() if not p.stop_gradient and p.regularizer is not None}
    norms = {name for name, _ in model.named_parameters() if ".bn" in name or "downsample.1" in name}
    assert without == {name for name in norms if name.endswith(("weight", "bias"))} | {"fc.bias"}


# --- the objective ------------------------------------------------------------------------------------------------

LOGITS = [[2.0, 0.0, -1.0, 1.0], [0.5, 0.5, 0.5, 0.5], [-3.0, 4.0, 0.0, 0.0]]
LABELS = [0, 3, 2]


def cross_entropy(logits: list[float], target: list[float]) -> float:
    total = math.log(sum(map(math.exp, logits)))
    return sum(share * (total - logit) for share, logit in zip(target, logits))


def target(label: int, smoothing: float) -> list[float]:
    return [smoothing / 4 + (1 - smoothing) * (label == k) for k in range(4)]


@pytest.mark.parametrize(("smoothing", "weights"), [
    (0.0, ()), (0.1, ()), (0.5, ()), (0.0, (2, 1, 0.5, 3)), (0.1, (2, 1, 0.5, 3)),
])  # fmt: skip
def test_label_smoothing_and_weights_of_classes(smoothing, weights):
    """The sum of weight * loss is divided by the number of videos, not by the sum of the weights."""
    frames = paddle.zeros([3, 2, 4, 4, 3], dtype="uint8")
    objective = Objective(0, label_smoothing=smoothing, weights=weights)
    same, losses = objective(frames, paddle.to_tensor(LABELS), 0, 0, 0)
    assert same is frames
    expected = sum(
        (weights[label] if weights else 1) * cross_entropy(logits, target(label, smoothing))
        for logits, label in zip(LOGITS, LABELS)
    )
    assert float(losses(paddle.to_tensor(LOGITS))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("asked", "expected"), [
    ("none", ()), ((1.0, 0.5, 4.0, 2.0), (1.0, 0.5, 4.0, 2.0)),
    ("balanced", (6 / (3 * 3), 6 / (3 * 2), 1.0, 6 / (3 * 1))),  # class 2 has no video
])  # fmt: skip
def test_weights_of_classes(asked, expected):
    assert class_weights(asked, [0, 1, 0, 3, 1, 0], 4) == pytest.approx(expected)


@pytest.mark.parametrize(("smoothing", "weights"), [(0.0, ()), (0.1, ()), (0.0, (2, 1, 0.5, 3)), (0.1, (2, 1, 0.5, 3))])
def test_mixup(smoothing, weights):
    frames = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 4, 3), dtype=np.uint8)
    objective = Objective(7, label_smoothing=smoothing, mixup_alpha=0.2, weights=weights)
    mixed, losses = objective(paddle.to_tensor(frames), paddle.to_tensor(LABELS), 2, 5, 1)
    share, others = mixup_share(0.2, 7, 2, 5, 1), [1, 0, 0]
    assert 0 < share < 1 and mixed.dtype == paddle.float32
    assert mixed.numpy() == pytest.approx(share * frames + (1 - share) * frames[others], abs=1e-3)
    weights = weights or (1, 1, 1, 1)
    expected = sum(
        share * weights[LABELS[i]] * cross_entropy(LOGITS[i], target(LABELS[i], smoothing))
        + (1 - share) * weights[LABELS[other]] * cross_entropy(LOGITS[i], target(LABELS[other], smoothing))
        for i, other in enumerate(others)
    )
    assert float(losses(paddle.to_tensor(LOGITS))) == pytest.approx(expected, rel=1e-5)


def test_the_network_takes_the_frames_of_a_mixture():
    model, frames = TSN(3, num_layers=18), np.random.default_rng(0).integers(0, 256, (1, 2, 32, 32, 3), dtype=np.uint8)
    model.eval()
    whole, mixed = paddle.to_tensor(frames), paddle.to_tensor(frames, dtype="float32")
    assert np.array_equal(model(whole).numpy(), model(mixed).numpy())


def test_the_share_is_one_draw_of_beta_a_batch():
    """Beta(a, a) has mean 1/2 and variance 1 / (4 * (2a + 1))."""
    for alpha in (0.2, 1.0):
        drawn = [mixup_share(alpha, 1, epoch, step, 0) for epoch in range(20) for step in range(100)]
        assert np.mean(drawn) == pytest.approx(0.5, abs=0.04)
        assert np.var(drawn) == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.015)
    places = [(1, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1)]
    assert len({mixup_share(0.2, *place) for place in places}) == len(places)
    assert mixup_share(0.2, 1, 2, 3, 4) == mixup_share(0.2, 1, 2, 3, 4)


@pytest.mark.parametrize(("number", "expected"), [
    (1, [0]), (2, [1, 0]), (3, [1, 0, 0]), (4, [1, 0, 3, 2]), (5, [1, 0, 3, 2, 0]),
])  # fmt: skip
def test_partners(number, expected):
    assert partners(number) == expected


# --- frozen stages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "backbone", "number"), [
    *((TSN, "resnet", number) for number in (0, 1, 2, 5)), *((TSM, "resnet_vd", number) for number in (1, 4)),
    *((PPTSMv2, "resnet", number) for number in (1, 4, 5)),
])  # fmt: skip
def test_frozen_stages_stay_as_they_are(kind, backbone, number):
    model = kind(3, num_segments=4, num_layers=18, backbone=backbone)
    freeze_stages(model, number)
    train = TrainConfig(learning_rate=1e-6, clip_gradient_norm=40.0, freeze_stages=number)
    optimizer = build_optimizer(model, train)
    Amp(train, "cpu", seeded=True).set_training_mode(model)
    before = {name: weight.numpy().copy() for name, weight in model.state_dict().items()}
    frames = np.random.default_rng(0).integers(0, 256, (4, 2, 32, 32, 3), dtype=np.uint8)
    model(paddle.to_tensor(frames)).sum().backward()
    optimizer.step()
    after = model.state_dict()
    same = {name for name in before if np.array_equal(before[name], after[name].numpy())}
    stages = ["backbone.conv1", "backbone.layer1.", "backbone.layer2.", "backbone.layer3.", "backbone.layer4."]
    if kind is PPTSMv2:
        stages = ["backbone.stem.", *(f"backbone.groups.{i}." for i in range(3)), "backbone."]
    frozen = {name for name in before if name.replace("bn1", "conv1", 1).startswith(tuple(stages[:number]))}
    assert frozen <= same
    # A bias before a BatchNorm may stay the same.
    assert {name for name in before.keys() - frozen if name.endswith(("conv1.weight", "_mean", "fc.weight"))} <= (
        before.keys() - same
    )
    statistics = [name for name in before.keys() - frozen if name.endswith(("_mean", "_variance"))]
    assert len(moving_statistics(model)) == len(statistics)


def test_frozen_layers_keep_float32_where_the_others_become_low_precision(monkeypatch):
    asked = {}
    monkeypatch.setattr(paddle, "set_flags", lambda flags: None)  # flags of a GPU
    monkeypatch.setattr("training.amp.gpu_has", lambda dtype: True)
    monkeypatch.setattr(paddle.amp, "decorate", lambda model, optimizer, **how: asked.update(how) or (model, optimizer))
    for number in (0, 2):
        model, train = TSN(3, num_layers=18), TrainConfig(amp="O2")
        freeze_stages(model, number)
        Amp(train, "gpu", seeded=False).prepare(model, build_optimizer(model, train))
        excluded = {id(layer) for layer in asked["excluded_layers"] or ()}
        names = {name for name, layer in model.named_sublayers() if id(layer) in excluded}
        assert ("backbone.conv1" in names, "backbone.layer1.1.conv2" in names) == (number > 0, number > 0)
        assert not names & {"fc", "backbone.layer2.0.conv1", "backbone"}


# --- the shipped recipes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rates"), [
    ("tsn", {(0, 0): 0.01, (15, 0): 0.001, (30, 0): 0.0001}),
    ("tsn_strong", {(0, 0): 0.01, (39, 99): 0.01, (40, 0): 0.001, (79, 99): 0.001, (80, 0): 0.0001}),
    ("pptsn", {(0, 0): 0.005, (10, 0): 0.0097552826, (50, 0): 0.005}),
    ("tsm", {(0, 0): 0.002, (2, 50): 0.011, (5, 0): 0.02, (24, 99): 0.02, (25, 0): 0.002, (45, 0): 0.0002}),
    ("pptsm_v2", {(0, 0): 0.005, (5, 0): 0.0074148146, (10, 0): 0.0098296291, (60, 0): 0.005}),
    ("finetune", {(0, 0): 0.001, (15, 0): 0.0005}),
])  # fmt: skip
def test_rates_of_the_shipped_recipes(name, rates):
    train = load_config(ROOT / "configs" / f"{name}.yaml").train
    schedule = build_schedule(train, steps_per_epoch=100, step_size=train.batch_size)
    assert {place: schedule(*place) for place in rates} == pytest.approx(rates, rel=1e-6)


# --- all of it, in runs -------------------------------------------------------------------------------------------

# A frozen BatchNorm, because a process normalises with its part of the batch.
ALL = [
    "schedule=cosine", "warmup_epochs=1", "warmup_learning_rate=0.001", "nesterov=True", "clip_gradient_norm=1",
    "label_smoothing=0.1", "mixup_alpha=0.4", "multi_scale_crop=13", "no_decay_on_bn_and_bias=True",
    "classifier_learning_rate=5", "freeze_stages=2", "balance_classes=True", "accumulate_steps=2",
    "freeze_batch_norm=True", "milestones=[1, 2]", "class_weights=[1, 2, 0.5, 1.5]", "ema=0.9", "patience=2",
    "rand_augment=2", "rand_augment_magnitude=5", "random_erasing=0.5",
]  # fmt: skip


@pytest.fixture(scope="module")
def flags(workspace, undisturbed, tmp_path_factory) -> list[str]:
    """Return flags for 2 epochs of 20 videos, 10, 5, 3 and 2 of a class: steps of 4 + 4, 4 + 4 and 4."""
    videos = [*workspace.videos, *(workspace.videos[i] for i in (0, 4, 8, 0, 4, 8, 0, 1, 5, 2))]
    path = write_list(tmp_path_factory.mktemp("list") / "uneven.list", videos)
    settings = (part for key in [*ALL, f"filelist={path}"] for part in ("--set", f"TRAIN.{key}"))
    weights = f"--pretrain={undisturbed / 'TSN.pdparams'}"  # random weights may not be frozen
    return ["--epoch=2", "--resume=auto", "--set", "TRAIN.engine=onednn", weights, *settings]


@pytest.fixture(scope="module")
def alone(workspace, tmp_path_factory, flags) -> Path:
    """Provide the save_dir of one process that nothing stopped."""
    return train_narrow(workspace, tmp_path_factory.mktemp("alone"), *flags).save_dir


def test_killed_at_any_moment_a_run_with_everything_ends_with_the_same_bits(workspace, tmp_path, flags, alone):
    save_dir, often = tmp_path / "save", ("--report=True", "--set", "TRAIN.checkpoint_minutes=0.00001")

    def run(rest: str = "") -> Training:
        return NarrowTraining(workspace, tmp_path, *flags, *often, TSN_TEST_REST=rest)

    def kill(training: Training) -> None:
        training.signal(signal.SIGKILL).ends(-signal.SIGKILL)

    # Within an epoch.
    kill(run("Epoch 0, iter 1").says("Epoch 0, iter 1"))
    # While a checkpoint is written: half of its file is there.
    training = run("saving").says("resumed from")
    wait_for(lambda: list(save_dir.glob(".*.pdparams.*.tmp")), "a temporary file", pause=0.001)
    kill(training)
    assert list(save_dir.glob(".*.pdparams.*.tmp"))
    # During a validation: the epoch's checkpoint is there, and its line in the log is not.
    training = run("validation").says("resumed from")
    wait_for(lambda: (save_dir / "TSN_epoch0.json").exists(), "the checkpoint of an epoch", pause=0.001)
    kill(training)
    assert steps(save_dir)[-1][:3] == ("train", 0, 2)
    # In a later epoch, then at a random moment.
    kill(run("Epoch 1, iter 1").says("Epoch 1, iter 1"))
    training = run().says("resumed from")
    time.sleep(delay := np.random.default_rng().uniform(0, 0.6))
    print(f"killed after {delay} s")
    training.process.kill()  # it may have ended
    training.process.wait()
    resumed = run().ends(0)
    assert "resumed from" in resumed.output and " was " not in resumed.output
    assert not list(save_dir.glob(".*.tmp"))
    for name in ("TSN.pdparams", "TSN.pdopt", "TSN_best.pdparams"):
        assert (save_dir / name).read_bytes() == (alone / name).read_bytes(), name
    assert steps(save_dir) == steps(alone)
    for name in ("TSN", "TSN_best", "TSN_epoch1"):
        ours, theirs = (manifest(folder, name)["progress"] for folder in (save_dir, alone))
        assert ours == theirs, name


def test_a_run_with_everything_is_the_same_in_two_processes(workspace, tmp_path, flags, alone):
    # After a signal they finish the step, save, and leave together.
    flags = [*flags, "--nproc=2", "--set", "TRAIN.engine=eager"]
    stopped = narrow_at(workspace, tmp_path, "Epoch 1, iter 0", *flags)
    stopped.signal(signal.SIGTERM).says("stopping after this step").release().ends(143, seconds=30)
    assert stopped.output.count("terminated") == 1 and not stopped.errors
    resumed = train_narrow(workspace, tmp_path, *flags)
    assert re.search("resumed from .*: epoch 1, iter 1\n", resumed.output)
    save_dir = resumed.save_dir
    assert difference(save_dir / "TSN.pdparams", alone / "TSN.pdparams") < 1e-6
    ours, theirs = steps(save_dir), steps(alone)
    assert [line[:3] for line in ours] == [line[:3] for line in theirs]
    assert [line[3] for line in ours] == pytest.approx([line[3] for line in theirs], rel=1e-4)


def test_a_manifest_has_the_whole_recipe(alone):
    kept = manifest(alone)["train"]
    assert {key.partition("=")[0] for key in ALL} <= kept.keys()
    assert (kept["milestones"], kept["freeze_stages"], kept["schedule"]) == ([1, 2], 2, "cosine")
