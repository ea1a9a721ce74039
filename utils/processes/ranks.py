"""Several processes as one run: who reads which videos, whose sums are added up. The only file that knows ranks.

Processes are started by utils/processes/launch.py or by `python -m paddle.distributed.launch`, over NCCL on GPUs and
gloo on CPUs. Every video belongs to exactly one rank, and nothing is padded: a rank without videos adds zeros to the
sums.
"""

import contextlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utils.errors import InputError

if TYPE_CHECKING:  # what takes time is imported where it is used: --help must not wait for it
    import numpy as np

    from utils.processes.channel import Channel

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
    """The processes of a run; with one process every method is the identity. Each method must be called by all."""

    rank: int = 0
    size: int = 1
    channel: "Channel | None" = None
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, order: Sequence[int], batch_size: int) -> list[int]:
        """This rank's part of `order`: a contiguous piece of every global batch, of equal length where it divides."""
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

    def sum(self, values: Sequence[int]) -> "np.ndarray":
        """The element-wise sum int64 of a few whole numbers over all ranks, the same on each."""
        import numpy as np

        return np.sum(self.gather(values), axis=0, dtype="int64")

    def gather(self, value: Any) -> list[Any]:
        """Each rank's value, by rank, on every rank. Raises RunError when another process is gone."""
        return [value] if self.channel is None else self.channel.exchange(value)

    def first(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        return self.gather(value)[0]

    def _meet(self) -> None:
        """Returns when all ranks are here: in gloo none may wait for another. NCCL may, and a GPU's host runs ahead."""
        if self.device == "cpu":
            self.gather(None)

    def copy_from_first(self, tensors: Sequence[Any]) -> None:
        """Gives the tensors of every rank the values of rank 0's: nobody else needs its files."""
        if self.size == 1:
            return
        import paddle

        self._meet()
        with paddle.no_grad():
            for tensor in tensors:
                paddle.distributed.broadcast(tensor, src=0)

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
        self._meet()
        for group in by_dtype.values():
            flat = paddle.concat([(paddle.zeros_like(p) if p.grad is None else p.grad).flatten() for p in group])
            paddle.distributed.all_reduce(flat)
            for parameter, part in zip(group, flat.split([p.size for p in group])):
                parameter.grad = part.reshape(parameter.shape)

    def average(self, statistics: Sequence[Any]) -> None:
        """Makes BatchNorm's statistics on all ranks the mean of theirs, so that all evaluate and save one model."""
        if self.size == 1 or not statistics:
            return
        import paddle

        self._meet()
        with paddle.no_grad():
            flat = paddle.concat([tensor.flatten() for tensor in statistics])
            paddle.distributed.all_reduce(flat)
            for tensor, part in zip(statistics, (flat / self.size).split([tensor.size for tensor in statistics])):
                tensor.set_value(part.reshape(tensor.shape))


def join_ranks(device: str) -> World:
    """The world this process belongs to, connected; a world of one when nobody started several.

    Args:
        device: "gpu" (NCCL) or "cpu" (gloo).
    """
    if env_size() == 1:
        return World()
    import paddle

    from utils.processes.channel import Channel

    if device == "cpu":
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    with contextlib.redirect_stderr(io.StringIO()):  # a table of the flags that inference/start.py has set
        paddle.distributed.init_parallel_env()
    rank, size = paddle.distributed.get_rank(), paddle.distributed.get_world_size()

    def share(value: Any) -> list[Any]:
        values: list[Any] = []
        paddle.distributed.all_gather_object(values, value)
        return values

    host = os.environ["PADDLE_CURRENT_ENDPOINT"].rpartition(":")[0]
    return World(rank, size, Channel(rank, size, host, share), device)
