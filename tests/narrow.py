"""Run a script whose networks have an eighth of their channels: python narrow.py FLAGS.

The script is train.py, or the one that TSN_TEST_SCRIPT names. It is for tests that compare whole runs or processes;
their checkpoints and gradients are then small, too. Such a run ends before a signal can reach it, so it waits at the
moment that TSN_TEST_REST names: after the step "Epoch N, iter N" is logged, in the middle of "saving" weights, before a
"validation", or after some "features" are computed. It waits for a byte from the pipe TSN_TEST_PIPE, or for a second if
there is none.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.graphs import trace
from utils.cli import run
from utils.processes import device

choose_device, serve = device.choose_device, trace.serve


def narrow(change: Callable[[object, str, object], None]) -> None:
    """Make the networks narrow that are built from now on. change: setattr, or a function that undoes it later."""
    from models import resnet
    from models.lcnet_v2 import ConvBN, LCNetV2, SqueezeExcitation

    conv, norm, make_resnet = resnet._conv, resnet._norm, resnet.ResNet.__init__
    make_unit, make_squeeze, make_lcnet = (layer.__init__ for layer in (ConvBN, SqueezeExcitation, LCNetV2))

    def eighth(channels: int) -> int:
        return channels if channels % 32 else channels // 8  # only a layer's channels are multiples of 32

    def make_narrow_resnet(network, *arguments, **options) -> None:
        make_resnet(network, *arguments, **options)
        network.num_features //= 8

    def make_narrow_unit(layer, into: int, out: int, kernel: int, data_format: str, stride=1, groups=1) -> None:
        make_unit(layer, eighth(into), eighth(out), kernel, data_format, stride, eighth(groups))

    def make_narrow_lcnet(network, *arguments, **options) -> None:
        make_lcnet(network, *arguments, **options)
        out, into = (size // 8 for size in network.last_conv.weight.shape[:2])
        network.last_conv = type(network.last_conv)(into, out, 1, bias_attr=False, data_format=network.data_format)
        network.num_features = out

    change(resnet, "_conv", lambda into, out, *rest: conv(eighth(into), out // 8, *rest))
    change(resnet, "_norm", lambda channels, *rest: norm(channels // 8, *rest))
    change(resnet.ResNet, "__init__", make_narrow_resnet)
    change(ConvBN, "__init__", make_narrow_unit)
    change(SqueezeExcitation, "__init__", lambda layer, channels, *rest: make_squeeze(layer, channels // 8, *rest))
    change(LCNetV2, "__init__", make_narrow_lcnet)


def narrow_here(change: Callable[[object, str, object], None]) -> None:
    """Make the networks of this process narrow, and those of the process that traces its graphs."""
    narrow(change)
    change(trace, "serve", trace_narrow)


def rest_at(moment: str) -> None:
    if os.environ.get("TSN_TEST_REST") != moment:
        return
    if "TSN_TEST_PIPE" not in os.environ:
        time.sleep(1)
        return
    with open(os.environ["TSN_TEST_PIPE"], "rb", buffering=0) as pipe:
        pipe.read(1)


def let_it_rest() -> None:
    import paddle

    import training.frozen
    import training.run
    from training.loop import StepLog

    write, validate, save = StepLog.write, training.run.validate, paddle.save
    put = training.frozen.put_records

    def write_and_rest(log, epoch: int, step: int, *rest) -> None:
        write(log, epoch, step, *rest)
        rest_at(f"Epoch {epoch}, iter {step}")

    def rest_and_validate(*arguments) -> object:
        rest_at("validation")
        return validate(*arguments)

    def save_and_rest(state: dict, path: str) -> None:
        save(state, path)
        if os.environ.get("TSN_TEST_REST") == "saving":
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[: len(whole) // 2])
            rest_at("saving")
            Path(path).write_bytes(whole)

    def put_and_rest(path: Path, batches: Iterator) -> None:
        put(path, islice(batches, 5))
        rest_at("features")
        put(path, batches)

    StepLog.write, training.run.validate, paddle.save = write_and_rest, rest_and_validate, save_and_rest
    training.frozen.put_records = put_and_rest


def choose_and_change(*arguments) -> str:
    """Choose the device, which a script does before it builds a network, and make networks narrow."""
    chosen = choose_device(*arguments)
    device.import_paddle()
    narrow(setattr)
    if "TSN_TEST_REST" in os.environ:
        let_it_rest()
    return chosen


def trace_narrow(pipe: Connection) -> None:
    """Trace a narrow network's graph, in the process that does it."""
    os.environ["FLAGS_enable_pir_api"] = "0"  # `serve` sets it too late: `narrow` imports paddle before
    narrow(setattr)
    serve(pipe)


if __name__ == "__main__":
    device.choose_device = choose_and_change
    trace.serve = trace_narrow
    run(import_module(os.environ.get("TSN_TEST_SCRIPT", "train")).main)
