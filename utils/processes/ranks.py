"""Several processes as one run: divide the videos among ranks, and combine their results.

utils/processes/launch.py or `python -m paddle.distributed.launch` starts the processes. Tensors go over NCCL on GPUs
and gloo on CPUs, all else over utils/processes/channel.py. Every video belongs to exactly one rank, and nothing is
padded: a rank without videos adds zeros to the sums.
"""

import contextlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utils.errors import InputError, RunError

if TYPE_CHECKING:  # slow to import, so imported where it is used: --help must not wait for it
    import numpy as np

    from utils.processes.channel import Channel

# Environment variable of a rank that utils/processes/launch.py has started: a descriptor that the rank closes once the
# ranks are connected.
JOINING = "TSN_JOINING_FD"
# A line of a rank other than rank 0 is shown if it begins with this.
RANK_MARK = "[rank "
# Seconds in which NCCL must connect all GPUs; with hundreds of GPUs it takes minutes.
FIRST_SUM = 300.0
_NO_SUM = (
    "the first sum over all GPUs has not ended after {limit:g} s, so NCCL cannot connect them: try NCCL_P2P_DISABLE=1 "
    "if GPUs of a machine cannot copy to each other, NCCL_SOCKET_IFNAME=NAME if machines have several networks; "
    "NCCL_DEBUG=INFO tells more"
)


def env_rank() -> int:
    """Return the rank that the environment gives this process; 0 if it runs alone."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def env_size() -> int:
    """Return the number of processes that the environment announces; 1 if this one runs alone."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def env_ranks_here() -> int:
    """Return the number of these processes on this machine, including this one: their endpoints have its address.

    paddle.distributed.launch leaves out the endpoints if there are very many, but not their number.
    """
    host = os.environ.get("PADDLE_CURRENT_ENDPOINT", "").rpartition(":")[0]
    hosts = [end.rpartition(":")[0] for end in os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")]
    return (hosts.count(host) if host else 0) or int(os.environ.get("PADDLE_LOCAL_SIZE", "0")) or env_size()


@dataclass(frozen=True)
class World:
    """The processes of a run; with one process every method is the identity. All ranks must call each method."""

    rank: int = 0
    size: int = 1
    channel: "Channel | None" = None
    device: str = "cpu"
    on_machine: int | None = None  # the number of processes on this machine; None: all

    @property
    def ranks_here(self) -> int:
        """The number of processes that share this machine's cores and memory."""
        return self.size if self.on_machine is None else self.on_machine

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, order: Sequence[int], batch_size: int) -> list[int]:
        """Return this rank's part of `order`: a contiguous piece of every global batch, of equal length if possible."""
        if self.size == 1:
            return list(order)
        import numpy as np

        pieces = (np.array_split(order[i : i + batch_size], self.size) for i in range(0, len(order), batch_size))
        return [int(index) for piece in pieces for index in piece[self.rank]]

    def local_batch_size(self, batch_size: int, name: str) -> int:
        """Return this rank's part of a full global batch. Raises InputError if it does not divide evenly."""
        if batch_size % self.size:
            below, above = batch_size // self.size * self.size, -(-batch_size // self.size) * self.size
            nearest = " or ".join(str(n) for n in (below, above) if n)
            raise InputError(
                f"{name} is {batch_size} for all devices together, which {self.size} devices cannot share evenly "
                f"({batch_size} / {self.size} = {batch_size / self.size:.2f}): {nearest} would do"
            )
        return batch_size // self.size

    def all_reduce(self, values: Sequence[int]) -> "np.ndarray":
        """Return the element-wise sum int64 of a few integers over all ranks, the same on every rank."""
        import numpy as np

        return np.sum(self.all_gather(values), axis=0, dtype="int64")

    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, by rank, on every rank. Raises RunError if another process is gone."""
        return [value] if self.channel is None else self.channel.exchange(value)

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value, on every rank."""
        return self.all_gather(value)[0]

    def meet(self) -> None:
        """Wait on the CPU until all ranks are here: gloo allows no long waits. NCCL does: a GPU's host runs ahead."""
        if self.device == "cpu":
            self.all_gather(None)

    def broadcast_tensors(self, tensors: Sequence[Any]) -> None:
        """Copy rank 0's values into the tensors of every rank, so that only rank 0 needs the files."""
        if self.size == 1:
            return
        import paddle

        self.meet()
        with paddle.no_grad():
            for tensor in tensors:
                paddle.distributed.broadcast(tensor, src=0)

    def average(self, statistics: Sequence[Any]) -> None:
        """Replace BatchNorm's statistics by their mean over the ranks, so that all evaluate and save the same model."""
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
    """Return the world that this process belongs to, without paddle: it cannot share tensors.

    A process that runs alone gets a world of one. Return None if another launcher than utils/processes/launch.py, which
    links the processes, has started them: then call `join_ranks`.
    """
    if env_size() == 1:
        return World()

    from utils.processes.channel import Channel

    channel = Channel.inherited(env_rank())
    if channel:
        _joined()
    return channel and World(env_rank(), env_size(), channel)


def join_ranks(device: str) -> World:
    """Return the connected world that this process belongs to; a world of one if it runs alone.

    Args:
        device: "gpu" (NCCL) or "cpu" (gloo).

    Raises:
        InputError: on all ranks, if ranks are on different devices or one has none.
    """
    if env_size() == 1:
        return World()
    import paddle

    from utils.processes.watch import time_limit

    channel = _meet_ranks(device)
    if device == "cpu":
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # hides a table of the flags that the environment sets
            paddle.distributed.init_parallel_env()
    except RuntimeError as error:  # gloo's, which says where in its source it lost whom
        words = str(error).strip().splitlines()[-1]
        raise RunError(channel.watch().lost(f"the processes cannot be connected: {words}")) from None
    if device == "gpu":
        with time_limit(FIRST_SUM, channel.watch(), _NO_SUM.format(limit=FIRST_SUM)):
            paddle.distributed.all_reduce(paddle.zeros([1]))
            event = paddle.device.current_stream().record_event()
            while not event.query():  # Paddle would wait with Python's lock held, and block the time limit's thread
                time.sleep(0.01)
    _joined()
    return World(env_rank(), env_size(), channel, device, env_ranks_here())


@contextlib.contextmanager
def problems_shared() -> Iterator[None]:
    """Open a context whose InputError is raised on all ranks, which would otherwise wait for this one.

    Our own launcher ends the other ranks, so it does not need this.
    """
    from utils.processes.channel import LINKS

    try:
        yield
    except InputError as error:
        if env_size() > 1 and LINKS not in os.environ:
            _meet_ranks(str(error))
        raise


def _meet_ranks(device: str) -> "Channel":
    """Open the channel before Paddle's first wait, which would not notice a lost rank.

    device: "gpu", "cpu", or the reason why this rank has none. Raises InputError if ranks differ in it or one has none.
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
                f"rank {channel.name(rank)} would run on a {found}, rank {channel.name(0)} on a {devices[0]}: give "
                "each a GPU, or set --use_gpu=False for all"
            )
    return channel


def _joined() -> None:
    """Tell the launcher that this rank now reacts to signals: until here Paddle waits for ranks outside Python."""
    if JOINING in os.environ:
        os.close(int(os.environ.pop(JOINING)))
