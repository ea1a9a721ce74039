"""Several processes as one run: who reads which videos, whose sums are added up. The only file that knows ranks.

Processes are started by utils/processes/launch.py or by `python -m paddle.distributed.launch`. Tensors go over NCCL on
GPUs and gloo on CPUs, all else over utils/processes/channel.py. Every video belongs to exactly one rank, and nothing is
padded: a rank without videos adds zeros to the sums.
"""

import contextlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utils.errors import InputError

if TYPE_CHECKING:  # what takes time is imported where it is used: --help must not wait for it
    import numpy as np

    from utils.processes.channel import Channel

# In the environment of a rank that utils/processes/launch.py has started: a descriptor that it closes once the ranks
# have come together.
JOINING = "TSN_JOINING_FD"
# How a line begins that a rank other than the first one wants to be seen.
RANK_MARK = "[rank "
# Seconds in which NCCL must have connected all GPUs; minutes where there are hundreds of them.
FIRST_SUM = 300.0
_NO_SUM = (
    "the first sum over all GPUs has not ended after {limit:g} s: NCCL does not reach one from another. What helps: "
    "NCCL_P2P_DISABLE=1 where GPUs of a machine cannot copy to each other, NCCL_SOCKET_IFNAME=NAME where machines have "
    "several networks; NCCL_DEBUG=INFO tells more"
)


def env_rank() -> int:
    """Return the rank that the environment gives this process; 0 when it runs alone."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def env_size() -> int:
    """Return the number of processes that the environment announces; 1 when this one runs alone."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def env_ranks_here() -> int:
    """Return the number of those processes on this machine: their endpoints have its address, ours among them.

    Where there are very many endpoints paddle.distributed.launch leaves them out, but not the number.
    """
    host = os.environ.get("PADDLE_CURRENT_ENDPOINT", "").rpartition(":")[0]
    hosts = [end.rpartition(":")[0] for end in os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")]
    return (hosts.count(host) if host else 0) or int(os.environ.get("PADDLE_LOCAL_SIZE", "0")) or env_size()


@dataclass(frozen=True)
class World:
    """The processes of a run; with one process every method is the identity. Each method must be called by all."""

    rank: int = 0
    size: int = 1
    channel: "Channel | None" = None
    device: str = "cpu"
    on_machine: int | None = None  # of them on this machine; None: all

    @property
    def ranks_here(self) -> int:
        """The processes that share this machine's cores and memory."""
        return self.size if self.on_machine is None else self.on_machine

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, order: Sequence[int], batch_size: int) -> list[int]:
        """Return this rank's part of `order`.

        A contiguous piece of every global batch, of equal length where it divides.
        """
        if self.size == 1:
            return list(order)
        import numpy as np

        pieces = (np.array_split(order[i : i + batch_size], self.size) for i in range(0, len(order), batch_size))
        return [int(index) for piece in pieces for index in piece[self.rank]]

    def local_batch_size(self, batch_size: int, name: str) -> int:
        """Return this rank's part of a full global batch. Raises InputError when it does not divide evenly."""
        if batch_size % self.size:
            below, above = batch_size // self.size * self.size, -(-batch_size // self.size) * self.size
            nearest = " or ".join(str(n) for n in (below, above) if n)
            raise InputError(
                f"{name} is {batch_size} for all devices together, which {self.size} devices cannot share evenly "
                f"({batch_size} / {self.size} = {batch_size / self.size:.2f}): {nearest} would do"
            )
        return batch_size // self.size

    def all_reduce(self, values: Sequence[int]) -> "np.ndarray":
        """Return the element-wise sum int64 of a few whole numbers over all ranks, the same on each."""
        import numpy as np

        return np.sum(self.all_gather(values), axis=0, dtype="int64")

    def all_gather(self, value: Any) -> list[Any]:
        """Return each rank's value, by rank, on every rank. Raises RunError when another process is gone."""
        return [value] if self.channel is None else self.channel.exchange(value)

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value, on every rank."""
        return self.all_gather(value)[0]

    def meet(self) -> None:
        """Return when all ranks are here: in gloo none may wait for another. NCCL may, and a GPU's host runs ahead."""
        if self.device == "cpu":
            self.all_gather(None)

    def broadcast_tensors(self, tensors: Sequence[Any]) -> None:
        """Give the tensors of every rank the values of rank 0's: nobody else needs its files."""
        if self.size == 1:
            return
        import paddle

        self.meet()
        with paddle.no_grad():
            for tensor in tensors:
                paddle.distributed.broadcast(tensor, src=0)

    def average(self, statistics: Sequence[Any]) -> None:
        """Make BatchNorm's statistics on all ranks the mean of theirs, so that all evaluate and save one model."""
        if self.size == 1 or not statistics:
            return
        import paddle

        self.meet()
        with paddle.no_grad():
            flat = paddle.concat([tensor.flatten() for tensor in statistics])
            paddle.distributed.all_reduce(flat)
            for tensor, part in zip(statistics, (flat / self.size).split([tensor.size for tensor in statistics])):
                tensor.set_value(part.reshape(tensor.shape))


def linked_ranks() -> World | None:
    """Return the world this process belongs to, without paddle: it cannot share tensors.

    It is a world of one where the process is alone. It is None where it is not utils/processes/launch.py that has
    started the processes, which links them: then `join_ranks`.
    """
    if env_size() == 1:
        return World()

    from utils.processes.channel import Channel

    channel = Channel.inherited(env_rank())
    if channel:
        _joined()
    return channel and World(env_rank(), env_size(), channel)


def join_ranks(device: str) -> World:
    """Return the world this process belongs to, connected; a world of one when nobody started several.

    Args:
        device: "gpu" (NCCL) or "cpu" (gloo).

    Raises:
        InputError: ranks are on different devices, or one has none; on all of them.
    """
    if env_size() == 1:
        return World()
    import paddle

    from utils.processes.watch import time_limit

    channel = _meet_ranks(device)
    if device == "cpu":
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    with contextlib.redirect_stderr(io.StringIO()):  # a table of the flags that the environment has set
        paddle.distributed.init_parallel_env()
    if device == "gpu":
        with time_limit(FIRST_SUM, channel.watch(), _NO_SUM.format(limit=FIRST_SUM)):
            paddle.distributed.all_reduce(paddle.zeros([1]))
            event = paddle.device.current_stream().record_event()
            while not event.query():  # Paddle would wait with Python's lock, and the time limit with it
                time.sleep(0.01)
    _joined()
    return World(env_rank(), env_size(), channel, device, env_ranks_here())


@contextlib.contextmanager
def problems_shared() -> Iterator[None]:
    """Open a context whose InputError is one on all ranks, where no launcher of ours ends them.

    They would wait for this.
    """
    from utils.processes.channel import LINKS

    try:
        yield
    except InputError as error:
        if env_size() > 1 and LINKS not in os.environ:
            _meet_ranks(str(error))
        raise


def _meet_ranks(device: str) -> "Channel":
    """Open the channel, before anything waits that hears of no end. Raises InputError if `device` is not that of all.

    device: "gpu", "cpu", or why this rank has none.
    """
    from utils.processes.channel import Channel

    channel = Channel.inherited(env_rank())
    if channel is None:
        import paddle

        store = paddle.base.core.create_or_get_global_tcp_store()
        host = os.environ["PADDLE_CURRENT_ENDPOINT"].rpartition(":")[0]
        channel = Channel.over_network(env_rank(), env_size(), host, store)
        channel.watch()
    devices = channel.exchange(device)
    for rank, found in enumerate(devices):
        if found not in ("gpu", "cpu"):
            raise InputError(f"rank {channel.name(rank)}: {found}")
        if found != devices[0]:
            raise InputError(
                f"rank {channel.name(rank)} would run on a {found}, rank {channel.name(0)} on a {devices[0]}: they "
                "would wait for each other; a GPU for each, or --use_gpu=False for all"
            )
    return channel


def _joined() -> None:
    """Tell the launcher that signals are heard from now on: Paddle waits for other ranks without Python."""
    if JOINING in os.environ:
        os.close(int(os.environ.pop(JOINING)))
