"""Small messages between the processes of a run: nothing waits for a GPU, and a wait may take any time.

gloo ends a run if one process has waited 30 s for another, which may be loading weights, saving a checkpoint or reading
a video that hangs. And when a process is gone, gloo does not say which.
"""

import contextlib
import json
import multiprocessing
import os
import socket
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Client, Connection, Listener
from secrets import token_bytes
from typing import Any

from utils.errors import RunError
from utils.processes.watch import PEER_GONE, Watch

# Environment variable of a rank that utils/processes/launch.py has started: the descriptors of its connections.
LINKS = "TSN_LINK_FDS"
# A machine that does not answer, for lack of power or network, counts as gone after 5 + 3 * 4 s. The operating system
# asks and answers, so a process may be busy for longer.
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 4, "TCP_KEEPCNT": 3}
_ADDRESS = "tsn_channel"  # the key in the store


class Channel:
    """A connection between rank 0 and each other rank. All ranks must call `exchange` equally often."""

    def __init__(self, rank: int, others: Sequence[Connection], watched: Sequence[Connection] = ()):
        """Take the connections; others: rank 0's to the other ranks, in order, or another rank's single one to rank 0.

        watched: a second set of the same connections, used only to notice their end; see `watch`.
        """
        self._rank, self._others, self._watched = rank, others, watched
        self._watch: Watch | None = None
        self._hosts: list[str] = []  # the ranks' host names, once they have exchanged them

    @classmethod
    def over_network(cls, rank: int, size: int, host: str, store: Any) -> "Channel":
        """Return a channel over a port of rank 0, which admits ranks with the key. All ranks call it and wait.

        Args:
            host: the address under which the other ranks reach this process.
            store: Paddle's TCPStore, used once, to publish the address of rank 0.
        """
        if rank > 0:
            address, port, key = json.loads(store.get(_ADDRESS))
            links = []
            for kind in range(2):
                links.append(Client((address, port), authkey=bytes.fromhex(key)))
                links[-1].send((rank, kind))  # rank 0 accepts no other connection until it has received this
            channel = cls(rank, links[:1], links[1:])
        else:
            # A key is needed because messages are unpickled.
            key = token_bytes(32)
            with Listener((host, 0), backlog=2 * size, authkey=key) as listener:
                store.set(_ADDRESS, json.dumps([*listener.address, key.hex()]))
                connections: dict[tuple[int, int], Connection] = {}
                while len(connections) < 2 * (size - 1):
                    try:
                        connection = listener.accept()
                    except (multiprocessing.AuthenticationError, EOFError, OSError):
                        continue  # a stranger or a port scanner
                    connections[connection.recv()] = connection
            channel = cls(0, *([connections[other, kind] for other in range(1, size)] for kind in range(2)))
        channel._hosts = channel.exchange(socket.gethostname())
        return channel

    def name(self, rank: int) -> str:
        """Return the name of a rank in messages: "1", or "1 on gpu-box"."""
        return f"{rank} on {self._hosts[rank]}" if self._hosts else str(rank)

    def watch(self) -> Watch:
        """End this process from now on when another rank ends. Do nothing if the launcher takes care of that."""
        if self._watch is None:
            for connection in self._watched:
                with socket.socket(fileno=os.dup(connection.fileno())) as end:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    for name, value in KEEPALIVE.items():
                        if hasattr(socket, name):
                            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            others = [0] if self._rank else range(1, len(self._watched) + 1)
            self._watch = Watch({link: self.name(other) for link, other in zip(self._watched, others)})
        return self._watch

    @classmethod
    def inherited(cls, rank: int) -> "Channel | None":
        """Return a channel over the launcher's links, without waiting; None if another launcher started the ranks."""
        if LINKS not in os.environ:
            return None
        descriptors = [int(number) for number in os.environ[LINKS].split(",")]
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # inherited by a child, the connection would outlive this process
        return cls(rank, [Connection(descriptor) for descriptor in descriptors])

    def exchange(self, value: Any) -> list[Any]:
        """Return the values of all ranks, by rank, on every rank. Raises RunError if another process is gone."""
        if self._rank > 0:
            try:
                self._others[0].send(value)
                return self._others[0].recv()
            except (EOFError, OSError):
                raise self._gone(0) from None
        values = [value]
        try:
            for connection in self._others:
                values.append(connection.recv())
        except (EOFError, OSError):
            raise self._gone(len(values)) from None
        for other, connection in enumerate(self._others, start=1):
            try:
                connection.send(values)
            except OSError:
                raise self._gone(other) from None
        return values

    def _gone(self, other: int) -> RunError:
        line = f"{PEER_GONE}{self.name(other)}"
        return RunError(self._watch.lost(line) if self._watch else line)


@contextlib.contextmanager
def linked(size: int) -> Iterator[list[list[int]]]:
    """Yield the descriptors of each rank's connections, which processes started in the context inherit.

    They are pairs of sockets without an address. So there is no port that another program could take and no stranger to
    keep out, and the other ranks see at once if a rank is gone, even before it connects. This process closes its copies
    at the end.
    """
    with contextlib.ExitStack() as stack:
        pairs = [[stack.enter_context(end) for end in multiprocessing.Pipe()] for _ in range(1, size)]
        yield [[first.fileno() for first, _ in pairs], *([other.fileno()] for _, other in pairs)]
