"""Train small networks in both engines and print the results as JSON: python engine_program.py.

It is a process of its own, because paddle reads the graphs' format from the environment when it is imported.
test_cpu_engine.py judges the numbers.
"""

import json
import os
import resource
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
from training.environment import set_environment  # noqa: E402

set_environment()

import paddle  # noqa: E402
import paddle.nn.functional as F  # noqa: E402

from apps.doctor.ways import distances  # noqa: E402
from models.tsn import TSN  # noqa: E402
from narrow import narrow  # noqa: E402
from training import cpu_engine, onednn, timing  # noqa: E402
from training.amp import Amp  # noqa: E402
from training.recipe import freeze_stages  # noqa: E402
from utils.config.train_keys import TrainConfig  # noqa: E402

CLASSES = 5
MEASURED: dict[str, object] = {}  # the results of the last measurement


def network(
    num_layers: int, kind: str, seglen: int = 1, seed: int = 0, stages: int = 0, dropout: float = 0.0
) -> TSN:  # fmt: skip
    """Return a network in an engine. kind: the engine, or "ENGINE measured" to measure both and take this one."""
    paddle.seed(seed)
    model = TSN(CLASSES, num_layers=num_layers, seglen=seglen, dropout=dropout)
    freeze_stages(model, stages)
    model.train()
    wanted, _, measured = kind.partition(" ")
    if not measured:
        assert cpu_engine.set_engine(model, kind, "cpu") == kind
        return model

    def time_steps(*arguments) -> timing.StepTimes:
        times = timing.time_steps(*arguments)
        gradients = sum(parameter.grad is not None for parameter in model.parameters())
        MEASURED.update(frames=times.frames, seconds=times.seconds, gradients=gradients)
        return timing.StepTimes(times.frames, {"eager": wanted == "onednn", "onednn": wanted == "eager"})

    with mock.patch.object(cpu_engine, "time_steps", time_steps):
        assert cpu_engine.set_engine(model, "auto", "cpu", batch=(4, 2, 32, 32, 3 * seglen)) == wanted
    return model


def clips(number: int, size: int, seglen: int = 1, seed: int = 0) -> tuple[paddle.Tensor, paddle.Tensor]:
    random = np.random.default_rng([seed, number])
    frames = random.integers(0, 256, (number, 2, size, size, 3 * seglen), dtype=np.uint8)
    return paddle.to_tensor(frames), paddle.to_tensor(random.integers(0, CLASSES, number))


def gradients(kind: str, double: bool = False) -> dict[str, np.ndarray]:
    """Return the gradient of each parameter of a ResNet-18 after one batch. double: compute in float64."""
    model = network(18, kind)
    frames, labels = clips(4, 64)
    x = frames.flatten(0, 1).astype("float32").transpose([0, 3, 1, 2]) * model.scale + model.shift
    if double:
        state = model.state_dict()
        paddle.set_default_dtype("float64")
        with paddle.LazyGuard():
            model = network(18, kind)
        paddle.set_default_dtype("float32")
        model.set_state_dict({name: weight.astype("float64") for name, weight in state.items()})
        x = x.astype("float64")
    features = model.backbone(x).reshape([4, 2, -1]).mean(axis=1)
    F.cross_entropy(model.fc(features), labels).backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters() if not p.stop_gradient}


def distances_of_convolutions() -> dict[str, float]:
    """Return each engine's largest relative distance to float64, over all kinds of convolutions of a ResNet-50.

    The distances are those of the output and of the gradients of input and weight.
    """
    kinds = {forward._key: (layer, forward) for layer, forward in onednn.convolutions(network(50, "eager"))}
    random, most = np.random.default_rng(0), {"eager": 0.0, "onednn": 0.0}
    for layer, forward in kinds.values():
        batch = random.normal(size=(2, layer._in_channels, 5, 5))
        sizes = layer._in_channels, layer._out_channels, layer._kernel_size, layer._stride, layer._padding
        double = paddle.nn.Conv2D(*sizes, bias_attr=False).to(dtype="float64")
        double.weight.set_value(layer.weight.astype("float64"))
        exact = onednn._outcome(double, batch)
        for engine in most:
            if engine == "onednn":
                layer.forward = forward
            for ours, true in zip(onednn._outcome(layer, batch.astype("float32")), exact):
                most[engine] = max(most[engine], float(np.abs(ours - true).max() / np.abs(true).max()))
    return most


def losses(
    kind: str,
    sizes: list[int],
    seglen: int = 1,
    freeze: bool = False,
    accumulate: int = 1,
    stages: int = 0,
    dropout: float = 0.0,
) -> dict[str, object]:
    """Return the losses of batches of these sizes, the loss of an evaluation after each, and each weight's sum."""
    model = network(18, kind, seglen, stages=stages, dropout=dropout)
    # Frozen statistics let activations, and so gradients, grow large.
    optimizer = paddle.optimizer.Momentum(1e-6 if freeze else 0.001, parameters=model.parameters())
    found: dict[str, object] = {"train": [], "eval": []}
    for number, size in enumerate(sizes, start=1):
        Amp(TrainConfig(freeze_batch_norm=freeze), "cpu", seeded=True).set_training_mode(model)
        frames, labels = clips(size, 32, seglen, number)
        loss = F.cross_entropy(model(frames), labels)
        (loss / accumulate).backward()
        found["train"].append(float(loss))
        if number % accumulate == 0:
            optimizer.step()
            optimizer.clear_grad()
        model.eval()
        with paddle.no_grad():
            found["eval"].append(float(F.cross_entropy(model(frames[:1]), labels[:1])))
    found["weights"] = [float(np.abs(w.numpy()).sum(dtype="float64")) for w in model.state_dict().values()]
    return found


def peak_memory(kind: str) -> float:
    """Return this process's peak memory in MB."""
    with narrow_networks():
        model = network(18, kind)
    optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())
    for _ in range(2):
        frames, labels = clips(40, 112)
        F.cross_entropy(model(frames), labels).backward()
        optimizer.step()
        optimizer.clear_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def graphs_made(sizes: list[int]) -> tuple[int, dict[str, object]]:
    """Return (the number of graphs that batches of these sizes need in training and evaluation, their `losses`)."""
    made, make = [], onednn._graph
    onednn._graph = lambda *arguments: made.append(1) or make(*arguments)
    found = losses("onednn", sizes)
    onednn._graph = make
    return len(made) - 1, found  # without the one of `find_problem`


def narrow_networks() -> ExitStack:
    """Open a context in which networks have an eighth of their channels."""
    changes = ExitStack()
    narrow(lambda *change: changes.enter_context(mock.patch.object(*change)))
    return changes


def main() -> dict[str, object]:
    found: dict[str, object] = {}
    exact = gradients("eager", double=True)
    for kind in ("eager", "onednn"):
        found[f"distances {kind}"] = list(distances(gradients(kind), exact).values())
    found["convolutions"] = distances_of_convolutions()
    cases = {"plain": {}, "seglen": {"seglen": 2}, "frozen": {"freeze": True}, "accumulated": {"accumulate": 2},
             "stages": {"stages": 3}}  # fmt: skip
    with narrow_networks():  # the rest does not depend on the width
        for name, options in cases.items():
            for kind in ("eager", "onednn"):
                found[f"losses {name} {kind}"] = losses(kind, [4, 4, 3, 2], **options)
        for kind in ("eager", "onednn", "eager measured", "onednn measured"):
            found[f"losses dropout {kind}"] = losses(kind, [4, 4], dropout=0.5)
        several_sizes, found["again"] = graphs_made([4, 4, 3, 2])
        found["graphs"] = [graphs_made([4])[0], several_sizes]
    found["measured"] = MEASURED
    return found


if __name__ == "__main__":
    sys.stdout.flush()
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the log goes to stderr
    result = peak_memory(sys.argv[1]) if len(sys.argv) > 1 else main()
    print(json.dumps(result), file=output, flush=True)
