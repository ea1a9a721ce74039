"""Which device a script runs on, decided once."""

import signal

from utils.errors import InputError
from utils.log import say
from utils.processes.signals import signals_held


def import_paddle():
    """paddle, with SIGTERM still ours: importing it puts a handler in place that ends the process on the spot."""
    ours = signal.getsignal(signal.SIGTERM)
    with signals_held():
        import paddle

        signal.signal(signal.SIGTERM, ours)
    return paddle


def choose_device(wanted: bool, demanded: bool) -> str:
    """Sets paddle's device and returns it, "gpu" or "cpu", after saying which when it was not asked for.

    Args:
        wanted: the configuration's use_gpu; False is the CPU.
        demanded: use_gpu=True came from a flag or --set: without a GPU that is an error.

    Raises:
        InputError: a GPU is demanded, but paddle is a CPU build or sees no device.
    """
    paddle = import_paddle()
    missing = ""
    if not paddle.is_compiled_with_cuda():
        missing = "this paddlepaddle is a CPU build (see requirements-gpu.txt)"
    elif paddle.device.cuda.device_count() == 0:
        missing = "no GPU is visible (see CUDA_VISIBLE_DEVICES)"
    if wanted and demanded and missing:
        raise InputError(f"--use_gpu=True: {missing}")
    device = "gpu" if wanted and not missing else "cpu"
    if wanted and missing:
        say(f"running on the CPU: {missing}")
    paddle.set_device(device)
    return device
