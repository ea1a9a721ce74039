"""Test the launcher with real ranks, whose program connects them without paddle."""

import os
import signal
import socket
import uuid
from pathlib import Path

import pytest

from conftest import ROOT, processes, says, start_python, wait_until
from utils.processes.launch import _environments

# At the moment that the second argument names, rank 1 executes the first argument; with a third one, all ranks do.
PROGRAM = f"""
import os, signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from utils.cli import run
from utils.errors import InputError
from utils.log import say
from utils.processes import launch
from utils.processes.launch import start_ranks
from utils.processes.ranks import linked_ranks

launch.ALONE = float(os.environ.get("TEST_ALONE", launch.ALONE))

def at(moment):
    if moment in sys.argv and (len(sys.argv) > 3 or os.environ.get("PADDLE_TRAINER_ID") == "1"):
        exec(sys.argv[1])

def main():
    start_ranks(3, use_gpu=False)
    open("started" + os.environ["PADDLE_TRAINER_ID"], "w").close()
    at("before joining")
    world = linked_ranks()
    at("joined")
    values = world.all_gather((world.rank, "x" * 10**6 * world.rank))
    values = [(rank, len(text)) for rank, text in values]
    sums = world.all_reduce([1, world.rank]).tolist()
    say(f"linked {{values}} {{sums}} {{world.broadcast(world.rank)}} {{'paddle' in sys.modules}}", every_rank=True)

run(main)
"""


class Launched:
    """A running launcher with three ranks."""

    def __init__(self, folder: Path, *arguments: str, real: bool = False):
        """Start it. real: let the system start it and its ranks, not a fork server."""
        self.mark, self._folder = uuid.uuid4().hex, folder
        self._outputs = folder / "out", folder / "errors"
        (folder / "program.py").write_text(PROGRAM)
        environment = {**os.environ, "TSN_TEST_MARK": self.mark}
        self.process = start_python(["program.py", *arguments], environment, *self._outputs, folder, real)

    def waits(self) -> "Launched":
        """Return once rank 0 waits for rank 1, which executes WAIT."""
        wait_until(lambda: {"started0", "waits"} <= set(os.listdir(self._folder)), 60)
        return self

    def ends(self, code: int) -> tuple[str, str]:
        """Return its stdout and stderr, after all its processes have ended with the expected exit code."""
        ended = self.process.wait(100)
        out, errors = (path.read_text() for path in self._outputs)
        assert ended == code, (out, errors)
        wait_until(lambda: not processes(self.mark))
        return out, errors


def test_ranks_are_linked_without_paddle(tmp_path):
    out, errors = Launched(tmp_path, real=True).ends(0)
    values = [(rank, 10**6 * rank) for rank in range(3)]
    said = f"linked {values} [3, 3] 0 False"
    assert errors == "" and sorted(out.splitlines()) == [f"[rank 1] {said}", f"[rank 2] {said}", said]


@pytest.mark.parametrize("moment", ["before joining", "joined"])
@pytest.mark.parametrize(
    "end, code, pieces",
    [
        ("os._exit(3)", 1, ["1 of 3 ", "exit code 3", "all ranks were ended", "its last lines: none"]),
        (
            "os.kill(os.getpid(), signal.SIGKILL)", 1,
            ["1 of 3 ", "signal 9 (SIGKILL)", "all ranks were ended", "its last lines: none"],
        ),
        ("raise InputError('no such list')", 2, ["1: ", "no such list"]),
    ],
)  # fmt: skip
def test_a_rank_that_ends_ends_them_all_with_one_line(tmp_path, end, code, pieces, moment):
    out, errors = Launched(tmp_path, end, moment).ends(code)
    assert out == ""
    says(errors, f"error: rank {pieces[0]}", *pieces[1:])


# Rank 1 executes this, and the others wait for it.
WAIT = "open('waits', 'w').close(); time.sleep(100)"


@pytest.mark.parametrize("moment", ["before joining", "joined"])
@pytest.mark.parametrize(
    "number, code, said", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_while_a_rank_waits_for_another(tmp_path, number, code, said, moment):
    launched = Launched(tmp_path, WAIT, moment).waits()
    launched.process.send_signal(number)
    assert launched.ends(code) == ("", f"{said}\n")


# Stands for Paddle's way to connect ranks, which does not react to signals: its threads wait with Python's lock.
DEAF = "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN); "
DEAF += "open('deaf' + os.environ['PADDLE_TRAINER_ID'], 'w').close(); time.sleep(100)"


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_ranks_that_never_join_hear_none(tmp_path, monkeypatch, number, code):
    monkeypatch.setenv("TEST_ALONE", "0.5")
    launched = Launched(tmp_path, DEAF, "before joining", "each")
    wait_until(lambda: {"deaf0", "deaf1", "deaf2"} <= set(os.listdir(tmp_path)), 60)
    launched.process.send_signal(number)
    launched.ends(code)


def test_ranks_of_a_machine_whose_name_has_no_address_use_the_loopback(monkeypatch):
    def nobody(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: ["an address"])
    assert "GLOO_SOCKET_IFNAME" not in next(_environments(2, []))
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert next(_environments(2, []))["GLOO_SOCKET_IFNAME"] in ("lo", "lo0")
    assert "GLOO_SOCKET_IFNAME" not in next(_environments(2, ["0", "1"]))


def test_a_killed_launcher_takes_waiting_ranks_along(tmp_path):
    launched = Launched(tmp_path, WAIT, "joined").waits()
    launched.process.kill()
    launched.ends(-signal.SIGKILL)
