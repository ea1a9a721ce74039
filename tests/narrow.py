"""A script with an eighth of a ResNet's channels, and all else as it is: python narrow.py FLAGS.

train.py, or what TSN_TEST_SCRIPT names. For tests that compare whole runs, or processes with each other, whose
checkpoints and gradients are then small, too. It waits where TSN_TEST_REST says, so that a signal finds it there: after
the step "Epoch N, iter N" is logged, in the middle of "saving" weights, before a "validation", or after some "features"
are computed. It waits for a byte from the pipe TSN_TEST_PIPE, or for a second if there is none.
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
    """Give networks that are made from now on an eighth of the channels. change: setattr, or one that can be undone."""
    from models import resnet

    conv, norm, make = resnet._conv, resnet._norm, resnet.ResNet.__init__

    def make_narrow(network, *arguments, **options) -> None:
        make(network, *arguments, **options)
        network.num_features //= 8

    # Images keep their channels: those of a layer are multiples of 32.
    change(resnet, "_conv", lambda into, out, *rest: conv(into if into % 32 else into // 8, out // 8, *rest))
    change(resnet, "_norm", lambda channels, *rest: norm(channels // 8, *rest))
    change(resnet.ResNet, "__init__", make_narrow)


def narrow_here(change: Callable[[object, str, object], None]) -> None:
    """Make the networks of this process narrow, and those whose graphs another process traces for it."""
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
    """Choose the device, as every script does before it builds a network; then change the networks."""
    chosen = choose_device(*arguments)
    device.import_paddle()
    narrow(setattr)
    if "TSN_TEST_REST" in os.environ:
        let_it_rest()
    return chosen


def trace_narrow(pipe: Connection) -> None:
    """Trace narrow networks in another process, which has none of these changes."""
    os.environ["FLAGS_enable_pir_api"] = "0"  # as `serve` does, but paddle is imported here before it
    narrow(setattr)
    serve(pipe)


if __name__ == "__main__":
    device.choose_device = choose_and_change
    trace.serve = trace_narrow
    run(import_module(os.environ.get("TSN_TEST_SCRIPT", "train")).main)
