"""Several processes as one run: who reads which videos, whose sums are added up. The only file that knows ranks.

Processes are started by utils/launch.py or by `python -m paddle.distributed.launch`, over NCCL on GPUs and gloo on
CPUs. Every video belongs to exactly one rank, and nothing is padded: a rank without videos adds zeros to the sums.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utils.errors import InputError

if TYPE_CHECKING:  # numpy and paddle are imported where they are used: --help must not wait for them
    import numpy as np


# How a line begins that a rank other than the first one wants to be seen.
RANK_MARK = "[rank "


def env_rank() -> int:
    """The rank that the environment gives this process; 0 when it runs alone."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def env_size() -> int:
    """The number of processes that the environment announces; 1 when this one runs alone."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


@dataclass(frozen=True)
class World:
    """The processes of a run; with one process every method is the identity."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, order: Sequence[int], batch_size: int) -> list[int]:
        """This rank's part of `order`: a contiguous piece of every global batch, of equal length wherever it divides."""
        if self.size == 1:
            return list(order)
        import numpy as np

        pieces = (np.array_split(order[i : i + batch_size], self.size) for i in range(0, len(order), batch_size))
        return [int(index) for piece in pieces for index in piece[self.rank]]

    def local_batch_size(self, batch_size: int, name: str) -> int:
        """This rank's part of a full global batch. Raises InputError when it does not divide evenly."""
        if batch_size % self.size:
            below, above = batch_size // self.size * self.size, -(-batch_size // self.size) * self.size
            nearest = " or ".join(str(n) for n in (below, above) if n)
            raise InputError(
                f"{name} is {batch_size} for all devices together, which {self.size} devices cannot share evenly "
                f"({batch_size} / {self.size} = {batch_size / self.size:.2f}): {nearest} would do"
            )
        return batch_size // self.size

    def sum(self, values: "Sequence[float] | np.ndarray", dtype: str = "int64") -> "np.ndarray":
        """The element-wise sum of a small vector over all ranks, the same on each."""
        import numpy as np

        array = np.asarray(values, dtype)
        if self.size == 1:
            return array
        import paddle

        tensor = paddle.to_tensor(array)
        paddle.distributed.all_reduce(tensor)
        return tensor.numpy()

    def gather(self, value: Any) -> list[Any]:
        """Each rank's value, by rank, on every rank."""
        if self.size == 1:
            return [value]
        import paddle

        values: list[Any] = []
        paddle.distributed.all_gather_object(values, value)
        return values

    def sum_gradients(self, parameters: Sequence[Any]) -> None:
        """Replaces each gradient by its sum over the ranks: one transfer for all of them together.

        The loss of a rank is its sum over videos divided by the videos of ALL ranks, so the sum is the gradient of the
        mean, however unevenly the videos are spread. A rank that had no video in this step adds zeros.
        """
        if self.size == 1:
            return
        import paddle

        by_dtype = {}
        for parameter in parameters:
            if not parameter.stop_gradient:
                by_dtype.setdefault(parameter.dtype, []).append(parameter)
        for group in by_dtype.values():
            flat = paddle.concat([(paddle.zeros_like(p) if p.grad is None else p.grad).flatten() for p in group])
            paddle.distributed.all_reduce(flat)
            for parameter, part in zip(group, flat.split([p.size for p in group])):
                parameter.grad = part.reshape(parameter.shape)

    def average_buffers(self, model: Any) -> None:
        """Makes the BatchNorm statistics of all ranks the mean of theirs, so that all evaluate and save one model."""
        if self.size == 1:
            return
        import paddle

        buffers = [b for b in model.buffers() if b.dtype == paddle.float32]
        with paddle.no_grad():
            flat = paddle.concat([b.flatten() for b in buffers])
            paddle.distributed.all_reduce(flat)
            for buffer, part in zip(buffers, (flat / self.size).split([b.size for b in buffers])):
                buffer.set_value(part.reshape(buffer.shape))


def join_ranks(device: str) -> World:
    """The world this process belongs to, connected; a world of one when nobody started several.

    Args:
        device: "gpu" (NCCL) or "cpu" (gloo).
    """
    if env_size() == 1:
        return World()
    import paddle

    if device == "cpu":
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    paddle.distributed.init_parallel_env()
    return World(paddle.distributed.get_rank(), paddle.distributed.get_world_size())
