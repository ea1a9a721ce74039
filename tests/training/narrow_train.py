"""train.py with an eighth of a ResNet's channels, and all else as it is: python narrow_train.py FLAGS.

For tests that compare whole runs, or processes with each other, whose checkpoints and gradients are then small, too.
As all is over in no time, it rests where TSN_TEST_REST says, for a signal to find it there: after the step
"Epoch N, iter N" has been logged, in the middle of "saving" weights, or when a "validation" begins.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from train import main
from utils.cli import run
from utils.processes import device

choose_device = device.choose_device


def rest_at(moment: str) -> None:
    if os.environ.get("TSN_TEST_REST") == moment:
        time.sleep(1)


def choose_and_narrow(*arguments) -> str:
    """What train.py calls first of all that has paddle imported."""
    chosen = choose_device(*arguments)
    import paddle

    import metrics.evaluate
    from models import resnet
    from training.loop import StepLog

    conv, norm, make = resnet._conv, resnet._norm, resnet.ResNet.__init__
    write, evaluate, save = StepLog.write, metrics.evaluate.evaluate, paddle.save

    def make_narrow(network, *arguments, **options) -> None:
        make(network, *arguments, **options)
        network.num_features //= 8

    def write_and_rest(log, epoch: int, step: int, *rest) -> None:
        write(log, epoch, step, *rest)
        rest_at(f"Epoch {epoch}, iter {step}")

    def rest_and_evaluate(*arguments) -> object:
        rest_at("validation")
        return evaluate(*arguments)

    def save_and_rest(state: dict, path: str) -> None:
        save(state, path)
        if os.environ.get("TSN_TEST_REST") == "saving":
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[: len(whole) // 2])
            rest_at("saving")
            Path(path).write_bytes(whole)

    # Images keep their channels: those of a layer are multiples of 32.
    resnet._conv = lambda into, out, *rest: conv(into if into % 32 else into // 8, out // 8, *rest)
    resnet._norm = lambda channels, *rest: norm(channels // 8, *rest)
    resnet.ResNet.__init__ = make_narrow
    StepLog.write, metrics.evaluate.evaluate, paddle.save = write_and_rest, rest_and_evaluate, save_and_rest
    return chosen


if __name__ == "__main__":
    device.choose_device = choose_and_narrow
    run(main)
