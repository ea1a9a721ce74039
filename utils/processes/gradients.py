"""The gradients of a step, added up over the ranks: on GPUs while backward still computes the remaining ones."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from utils.processes.ranks import World

# Bytes that are sent together: enough for NCCL to be fast, and few enough for the first piece to start early.
PIECE = 16 * 2**20


class GradientSum:
    """Replaces each gradient by its sum over the ranks; with one rank it does nothing.

    A rank's loss is its sum over videos divided by the number of videos of ALL ranks. So the summed gradient is the
    gradient of the mean loss, however unevenly the videos are spread. A rank without videos in this step adds zeros.
    """

    def __init__(self, parameters: Sequence[Any], world: World, piece: int | None = None):
        """Divide the parameters into pieces; piece: bytes; None: PIECE on GPUs, everything at once on the CPU.

        gloo sums in the calling thread, so backward would wait: pieces cost a tenth (benchmarks/train.py).
        """
        self._world, self._left, self._sent = world, None, []
        self._early = world.device == "gpu" or piece is not None
        self._pieces: list[list[Any]] = []
        if world.size == 1:
            return
        limit = (piece or PIECE) if self._early else float("inf")
        open_pieces: dict[Any, tuple[list[Any], int]] = {}  # by dtype, with the bytes
        # Backward reaches the last parameters first. A piece is complete, and sent, with its first parameter.
        for parameter in reversed([p for p in parameters if not p.stop_gradient]):
            members, size = open_pieces.get(parameter.dtype, ([], 0))
            members.insert(0, parameter)
            size += parameter.size * parameter.element_size()
            open_pieces[parameter.dtype] = members, size
            if size >= limit:
                self._pieces.append(open_pieces.pop(parameter.dtype)[0])
        self._pieces += [members for members, _ in open_pieces.values()]
        if self._early:
            for number, members in enumerate(self._pieces):
                for parameter in members:
                    parameter._register_backward_hook(partial(self._arrived, number))

    def begin(self) -> None:
        """Send gradients as backward computes them from now on: call it before the last backward of a step."""
        self._left = [len(members) for members in self._pieces]

    def finish(self) -> None:
        """Wait until all gradients are sums, or on a GPU until the sums are queued; all ranks must call it."""
        while len(self._sent) < len(self._pieces):
            self._send()
        for members, (flat, task) in zip(self._pieces, self._sent):
            task.wait()
            for parameter, part in zip(members, flat.split([p.size for p in members])):
                parameter.grad = part.reshape(parameter.shape)
        self._left, self._sent = None, []

    def _arrived(self, number: int) -> None:
        if self._left is not None:
            self._left[number] -= 1
            # Send in the same order on all ranks.
            while len(self._sent) < len(self._pieces) and not self._left[len(self._sent)]:
                self._send()

    def _send(self) -> None:
        import paddle

        members = self._pieces[len(self._sent)]
        with paddle.no_grad():
            flat = paddle.concat([(paddle.zeros_like(p) if p.grad is None else p.grad).flatten() for p in members])
        self._world.meet()
        self._sent.append((flat, paddle.distributed.all_reduce(flat, sync_op=False)))
