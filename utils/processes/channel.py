"""Small messages between the processes of a run: nothing waits for a GPU, and no wait is too long.

gloo ends a run in which one process has waited 30 s for another, who may be loading weights, saving a checkpoint or
reading a video that hangs; and it says nothing about who has ended when one is gone.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from secrets import token_bytes
from typing import Any

from utils.errors import RunError

# How the error of a process begins that ends because another one has: not the cause, only its echo.
PEER_GONE = "another process has ended: rank "


class Channel:
    """A connection between rank 0 and each other rank. All must call `exchange` equally often."""

    def __init__(self, rank: int, size: int, host: str, share: Callable[[Any], list[Any]]):
        """
        Args:
            host: the address under which the others reach this process.
            share: gives each rank's value, by rank, on every rank; needed once, to tell where to connect.
        """
        self._rank = rank
        if rank > 0:
            address, key = share(None)[0]
            self._others = [Client(address, authkey=key)]
            self._others[0].send(rank)
            return
        # The key: what comes through the connections is unpickled.
        key = token_bytes(32)
        with Listener((host, 0), backlog=size, authkey=key) as listener:
            share((listener.address, key))
            connections: dict[int, Connection] = {}
            while len(connections) < size - 1:
                try:
                    connection = listener.accept()
                except (multiprocessing.AuthenticationError, EOFError, OSError):
                    continue  # a stranger, or a scanner of ports
                connections[connection.recv()] = connection
        self._others = [connections[other] for other in range(1, size)]

    def exchange(self, value: Any) -> list[Any]:
        """Each rank's value, by rank, on every rank. Raises RunError when another process is gone."""
        if self._rank > 0:
            try:
                self._others[0].send(value)
                return self._others[0].recv()
            except (EOFError, OSError):
                raise RunError(f"{PEER_GONE}0") from None
        values = [value]
        try:
            for connection in self._others:
                values.append(connection.recv())
        except (EOFError, OSError):
            raise RunError(f"{PEER_GONE}{len(values)}") from None
        for other, connection in enumerate(self._others, start=1):
            try:
                connection.send(values)
            except OSError:
                raise RunError(f"{PEER_GONE}{other}") from None
        return values
