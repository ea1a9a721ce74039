"""Run a script with an eighth of a network's channels, and all else unchanged: python narrow.py FLAGS.

The script is train.py, or the one that TSN_TEST_SCRIPT names. Tests use it to compare whole runs or processes, because
checkpoints and gradients are then small, too. The run is so short that a signal could miss it. So it rests for a second
at the moment that TSN_TEST_REST names: after the log line "Epoch N, iter N", in the middle of "saving" weights, when a
"validation" begins, or when some "features" have been computed.
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
    """Give networks fewer channels from now on. change: setattr, or monkeypatch's, which undoes it."""
    from models import lcnet_v2, resnet

    conv, norm, make = resnet._conv, resnet._norm, resnet.ResNet.__init__

    def make_narrow(network, *arguments, **options) -> None:
        make(network, *arguments, **options)
        network.num_features //= 8

    # Images keep their channels: those of a layer are multiples of 32.
    change(resnet, "_conv", lambda into, out, *rest: conv(into if into % 32 else into // 8, out // 8, *rest))
    change(resnet, "_norm", lambda channels, *rest: norm(channels // 8, *rest))
    change(resnet.ResNet, "__init__", make_narrow)
    if "TSN_TEST_SCRIPT" in os.environ:  # for a whole script: tests that narrow their own process write full weights
        change(lcnet_v2, "GROUPS", tuple((channels // 8, *rest) for channels, *rest in lcnet_v2.GROUPS))
        change(lcnet_v2.LCNetV2, "num_features", lcnet_v2.LCNetV2.num_features // 8)


def narrow_here(change: Callable[[object, str, object], None]) -> None:
    """Give the networks of this process fewer channels, and those of the processes that trace its graphs."""
    narrow(change)
    change(trace, "serve", trace_narrow)


def rest_at(moment: str) -> None:
    if os.environ.get("TSN_TEST_REST") == moment:
        time.sleep(1)


def let_it_rest() -> None:
    import paddle

    import training.features
    import training.run
    from training.loop import StepLog

    write, validate, save = StepLog.write, training.run.validate, paddle.save
    put = training.features.put_records

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
    training.features.put_records = put_and_rest


def choose_and_change(*arguments) -> str:
    """Choose the device, which a script does before it builds a network, and narrow its networks."""
    chosen = choose_device(*arguments)
    device.import_paddle()
    narrow(setattr)
    if "TSN_TEST_REST" in os.environ:
        let_it_rest()
    return chosen


def trace_narrow(pipe: Connection) -> None:
    """Trace the graph of a narrow network, in a new process."""
    os.environ["FLAGS_enable_pir_api"] = "0"  # as `serve` does, but paddle is imported here before it
    narrow(setattr)
    serve(pipe)


if __name__ == "__main__":
    device.choose_device = choose_and_change
    trace.serve = trace_narrow
    run(import_module(os.environ.get("TSN_TEST_SCRIPT", "train")).main)
