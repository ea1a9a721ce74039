"""How the CPU computes a training step: with Paddle's own kernels (eager), or with oneDNN's convolutions (onednn)."""

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

# mallopt's parameters, from glibc's malloc.h, and a size that nothing reaches.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _NEVER = -1, -4, 2**31 - 1


def set_engine(
    model: paddle.nn.Layer, wanted: str, device: str,
    world: World = World(), batch: Sequence[int] = (), recorded: str = "",
) -> str:  # fmt: skip
    """Return "onednn" or "eager", what computes the model's training from now on, on all ranks; log it.

    wanted: TRAIN.engine; "auto" is eager on a GPU, and on the CPU what rank 0's checkpoint was trained by (`recorded`),
    else what computes a step sooner. That is measured with a batch of this shape, uint8 [N, T, H, W, C], on the model
    in training mode. Raises InputError for onednn on a GPU.
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
    """Has a model computed by one engine or the other, with the threads that it takes."""

    def __init__(self, model: paddle.nn.Layer):
        self.model, self._convolutions = model, convolutions(model)
        self._free = os.environ.get(FREE_THREADS) == "1"
        self.threads = available_cores() if self._free else os.environ.get("OMP_NUM_THREADS", "1")  # of onednn

    def use(self, engine: str) -> None:
        for layer, forward in self._convolutions:
            if engine == "onednn":
                layer.forward = forward
            else:
                vars(layer).pop("forward", None)
        if self._free:
            # Eager gains little from more than Paddle's default: one.
            paddle.base.core.set_num_threads(self.threads if engine == "onednn" else 1)


def _choose(engines: _Engines, wanted: str, world: World, batch: Sequence[int], recorded: str) -> tuple[str, str]:
    """Return (the engine, why, for the log)."""
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
    # All ranks measure, as they will all compute, and one of them decides.
    times = world.broadcast(time_steps(engines.model, engines.use, batch))
    engine = times.faster
    other = "eager" if engine == "onednn" else "onednn"
    ours, theirs = (f"{times.seconds[name]:.2g} s" for name in (engine, other))
    return engine, f" (auto: a step of {times.frames} frames takes {ours}, {other} {theirs})"


def _keep_memory() -> None:
    """Have malloc keep what is freed: a step takes the same memory as the one before, and its pages need no making."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)  # large blocks, too, come from the heap
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)  # whose end is not given back
