"""Small messages between the processes of a run: nothing waits for a GPU, and no wait is too long.

gloo ends a run in which one process has waited 30 s for another, who may be loading weights, saving a checkpoint or
reading a video that hangs; and it says nothing about who has ended when one is gone.
"""

import contextlib
import json
import multiprocessing
import os
import socket
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Client, Connection, Listener
from secrets import token_bytes
from typing import Any, Protocol

from utils.errors import RunError
from utils.processes.watch import PEER_GONE, Watch

# In the environment of a rank that utils/processes/launch.py has started: the descriptors of its connections.
LINKS = "TSN_LINK_FDS"
# When a machine that does not answer, as it has no power or no network, counts as gone: after 5 + 3 * 4 s. The system
# asks and answers, so that a process may be busy for longer.
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 4, "TCP_KEEPCNT": 3}
_ADDRESS = "tsn_channel"  # its name in the store


class Store(Protocol):
    """What all ranks can read: Paddle's TCPStore."""

    def set(self, key: str, value: str) -> None: ...

    def get(self, key: str) -> bytes:
        """Return the value once it is there."""


class Channel:
    """A connection between rank 0 and each other rank. All must call `exchange` equally often."""

    def __init__(self, rank: int, others: Sequence[Connection], watched: Sequence[Connection] = ()):
        """others: rank 0's connections to the other ranks, in their order; another rank's one to rank 0.

        watched: the same once more, for their ends alone; see `watch`.
        """
        self._rank, self._others, self._watched = rank, others, watched
        self._watch: Watch | None = None
        self._hosts: list[str] = []  # of the ranks, where they have told

    @classmethod
    def over_network(cls, rank: int, size: int, host: str, store: Store) -> "Channel":
        """Over a port of rank 0's, where it lets in who has the key. All must call it, and wait for each other.

        Args:
            host: the address under which the others reach this process.
            store: needed once, to tell where to connect.
        """
        if rank > 0:
            address, port, key = json.loads(store.get(_ADDRESS))
            links = []
            for kind in range(2):
                links.append(Client((address, port), authkey=bytes.fromhex(key)))
                links[-1].send((rank, kind))  # until then rank 0 lets in nobody else
            channel = cls(rank, links[:1], links[1:])
        else:
            # The key: what comes through the connections is unpickled.
            key = token_bytes(32)
            with Listener((host, 0), backlog=2 * size, authkey=key) as listener:
                store.set(_ADDRESS, json.dumps([*listener.address, key.hex()]))
                connections: dict[tuple[int, int], Connection] = {}
                while len(connections) < 2 * (size - 1):
                    try:
                        connection = listener.accept()
                    except (multiprocessing.AuthenticationError, EOFError, OSError):
                        continue  # a stranger, or a scanner of ports
                    connections[connection.recv()] = connection
            channel = cls(0, *([connections[other, kind] for other in range(1, size)] for kind in range(2)))
        channel._hosts = channel.exchange(socket.gethostname())
        return channel

    def name(self, rank: int) -> str:
        """Return what a rank is called in messages: "1", or "1 on gpu-box"."""
        return f"{rank} on {self._hosts[rank]}" if self._hosts else str(rank)

    def watch(self) -> Watch:
        """Have the end of another rank end this process from now on. Do nothing where the launcher sees to that."""
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
        """Over the links that the launcher made; None where it was another launcher. Nothing is waited for."""
        if LINKS not in os.environ:
            return None
        descriptors = [int(number) for number in os.environ[LINKS].split(",")]
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # in a process that this one starts it would outlive this one
        return cls(rank, [Connection(descriptor) for descriptor in descriptors])

    def exchange(self, value: Any) -> list[Any]:
        """Return each rank's value, by rank, on every rank. Raises RunError when another process is gone."""
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
        name = self.name(other)
        return RunError(self._watch.lost(name) if self._watch else f"{PEER_GONE}{name}")


@contextlib.contextmanager
def linked(size: int) -> Iterator[list[list[int]]]:
    """Yield the descriptors of each rank's connections, for the processes that are started in the context to inherit.

    Sockets in pairs, without an address: no port that another program may take, no stranger to tell from a rank, and
    the others see at once that a rank is gone, even one that never came so far. Here they are closed at the end.
    """
    with contextlib.ExitStack() as stack:
        pairs = [[stack.enter_context(end) for end in multiprocessing.Pipe()] for _ in range(1, size)]
        yield [[first.fileno() for first, _ in pairs], *([other.fileno()] for _, other in pairs)]
