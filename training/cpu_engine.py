"""Choose what computes a training step on the CPU: Paddle's kernels (eager) or oneDNN's convolutions (onednn)."""

import ctypes
import os
import platform
from collections.abc import Sequence

import paddle

from training.environment import FREE_THREADS
from training.onednn import convolutions, find_problem
from training.timing import time_steps
from utils.errors import InputError
from utils.log import say
from utils.processes.limits import available_cores
from utils.processes.ranks import World

# Parameters of mallopt, from glibc's malloc.h, and a size that is never reached.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _NEVER = -1, -4, 2**31 - 1


def set_engine(
    model: paddle.nn.Layer, wanted: str, device: str,
    world: World = World(), batch: Sequence[int] = (), recorded: str = "",
) -> str:  # fmt: skip
    """Return and log "onednn" or "eager", the engine that computes the model's training from now on, on all ranks.

    wanted: TRAIN.engine. "auto" is eager on a GPU. On the CPU it is the engine of rank 0's checkpoint (`recorded`), or
    without one the engine that is faster per step. That is measured with a batch of this shape, uint8 [N, T, H, W, C],
    on the model in training mode. Raises InputError for onednn on a GPU.
    """
    if device == "gpu":
        if wanted == "onednn":
            raise InputError("TRAIN.engine is onednn, which is for the CPU; this run is on a GPU (auto, eager)")
        return "eager"
    _keep_memory()
    engines = _Engines(model)
    random_state = paddle.get_rng_state()
    engine, reason = _choose(engines, wanted, world, batch, recorded)
    paddle.set_rng_state(random_state)
    engines.use(engine)
    threads = f", threads: {engines.threads}" if engine == "onednn" else ""
    say(f"engine: {engine}{threads}{reason}")
    return engine


class _Engines:
    """Switches a model between the engines, with the right number of threads for each."""

    def __init__(self, model: paddle.nn.Layer):
        self.model, self._convolutions = model, convolutions(model)
        self._free = os.environ.get(FREE_THREADS) == "1"
        self.threads = available_cores() if self._free else os.environ.get("OMP_NUM_THREADS", "1")  # for onednn

    def use(self, engine: str) -> None:
        for layer, forward in self._convolutions:
            if engine == "onednn":
                layer.forward = forward
            else:
                vars(layer).pop("forward", None)
        if self._free:
            # Eager gains little from more than one thread, Paddle's default.
            paddle.base.core.set_num_threads(self.threads if engine == "onednn" else 1)


def _choose(engines: _Engines, wanted: str, world: World, batch: Sequence[int], recorded: str) -> tuple[str, str]:
    """Return (engine, reason for the log)."""
    source, reason = f"TRAIN.engine {wanted}", ""
    if wanted == "auto" and (theirs := world.broadcast(recorded)):
        wanted, source, reason = theirs, f"the checkpoint's engine {theirs}", " (auto: the checkpoint's)"
    if wanted == "eager":
        return "eager", reason
    if problem := next(filter(None, world.all_gather(find_problem())), ""):
        say(f"{source}: this Paddle cannot train with oneDNN ({problem})")
        return "eager", ""
    if wanted == "onednn":
        return "onednn", reason
    # All ranks measure, because all will compute; rank 0's result counts.
    times = world.broadcast(time_steps(engines.model, engines.use, batch))
    engine = times.faster
    other = "eager" if engine == "onednn" else "onednn"
    ours, theirs = (f"{times.seconds[name]:.2g} s" for name in (engine, other))
    return engine, f" (auto: a step of {times.frames} frames takes {ours}, {other} {theirs})"


def _keep_memory() -> None:
    """Make malloc keep freed memory: each step needs as much as the one before, and saves making its pages."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)  # large blocks come from the heap too
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)  # and its end is never given back
