"""One command, several processes: starts a rank per device, passes signals on, ends all of them when one dies."""

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque

from utils.errors import InputError, RunError
from utils.processes.channel import LINKS, linked
from utils.processes.device import FOR_GPU, gpus_to_use
from utils.processes.following import PR_SET_PDEATHSIG
from utils.processes.limits import available_cores
from utils.processes.ranks import JOINING, RANK_MARK, env_size
from utils.processes.watch import PEER_GONE

# Seconds in which, after the first rank has ended, the others may end as well and say why.
ECHO = 3.0
# The same where the others end by themselves: after a signal, or when the cause has not ended yet.
GRACE = 20.0
# The same after a signal where ranks have not come together, and perhaps never will.
ALONE = 5.0
# The same after a second Ctrl-C.
HURRY = 3.0
LAST_LINES = 5
LIFELINE = "TSN_LIFELINE_FD"


def start_ranks(nproc: int | None, use_gpu: bool, useful: int = 1_000_000) -> None:
    """Return where one process is enough, or in a rank; else starts the ranks, waits, and exits as they did.

    Args:
        nproc: --nproc: processes on the CPU. None: one per visible GPU if GPUs are used, else one.
        useful: more processes than this would have nothing to do.

    Raises:
        InputError: --nproc together with a launcher, or for GPUs; fewer GPUs are seen than are listed.
    """
    # paddle.distributed.launch may also start a single process.
    if env_size() > 1 or "PADDLE_LOCAL_RANK" in os.environ:
        if nproc is not None and LIFELINE not in os.environ:
            raise InputError(f"--nproc={nproc}: a launcher has started {env_size()} processes already")
        _follow_parent()
        return
    devices = gpus_to_use() if use_gpu else []
    if devices and nproc is not None and nproc != len(devices):
        raise InputError(f"--nproc={nproc} is for the CPU: on GPUs CUDA_VISIBLE_DEVICES says how many processes run")
    if (number := min(nproc or max(1, len(devices)), useful)) > 1:
        sys.exit(_run_ranks(number, devices))


class _Rank:
    """A rank's process, its last lines, and what is passed on of what it says."""

    def __init__(self, number: int, environment: dict[str, str], lifeline: int, links: list[int]):
        self.number = number
        self.tail: deque[str] = deque(maxlen=LAST_LINES)
        # Held back, as they may only be the echo of another rank's end.
        self.traceback: list[str] = []
        self.echo = False
        self._joining, theirs = os.pipe()  # its end: it has joined the others
        environment |= {LIFELINE: str(lifeline), LINKS: ",".join(map(str, links)), JOINING: str(theirs)}
        # A session of its own: Ctrl-C reaches this process alone, which passes it on.
        self.process = subprocess.Popen(
            [sys.executable, *sys.argv], env=environment, pass_fds=[lifeline, theirs, *links], start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(theirs)
        pairs = ((self.process.stdout, sys.stdout), (self.process.stderr, sys.stderr))
        self._threads = [threading.Thread(target=self._forward, args=pair, daemon=True) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _forward(self, stream, target) -> None:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            self.tail.append(line)
            if line.startswith(f"error: {PEER_GONE}"):
                self.echo = True
            elif self.traceback or line.startswith("Traceback (most recent call last)"):
                self.traceback.append(line)
            elif self.number == 0 or line.startswith(RANK_MARK):
                # Nobody reads any more, or it cannot be written: the rank must not wait for that.
                with contextlib.suppress(OSError, RunError):
                    target.write(f"{line}\n")  # print writes twice, and another rank's line may come between
                    target.flush()

    @property
    def code(self) -> int | None:
        """The exit code, negative after a signal; None while it runs."""
        return self.process.poll()

    @property
    def complains(self) -> bool:
        """Whether it has ended with an error line of its own."""
        return self.code in (1, 2) and not self.traceback and not self.echo

    @property
    def joins(self) -> bool:
        """Whether it still waits for other ranks, or has not come so far, and may hear no signal meanwhile."""
        return self.code is None and not select.select([self._joining], [], [], 0)[0]

    def finish(self) -> None:
        """End the process if it still runs, and read what it has said."""
        if self.code is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(2)
        os.close(self._joining)


def _run_ranks(number: int, devices: list[str]) -> int:
    """Return the exit code of the run: that of the rank that made it fail, 130 or 143 after a signal, else 0."""
    read_end, write_end = os.pipe()  # the ranks see its end when this process is gone
    ranks: list[_Rank] = []
    asked: list[int] = []

    def pass_on(signal_number, frame):
        asked.append(signal_number)
        for rank in ranks:
            if rank.code is None:
                rank.process.send_signal(signal_number)

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, pass_on)
    try:
        with linked(number) as links:
            for i, environment in enumerate(_environments(number, devices)):
                if not asked:
                    ranks.append(_Rank(i, environment, read_end, links[i]))
        if asked and len(ranks) < number:  # one that was being started has not got the signal
            for rank in ranks:
                rank.process.send_signal(asked[0])
        _wait_for_end(ranks, asked)
        failed = min((rank for rank in ranks if rank.code), key=_blame, default=None)
        running = any(rank.code is None for rank in ranks)
    finally:
        for rank in ranks:
            rank.finish()
        os.close(write_end)
        os.close(read_end)
    if asked and not (failed and failed.complains):
        return 0 if failed is None and not running and ranks else 128 + asked[0]
    return _explain(failed, ranks) if failed else 0


def _environments(number: int, devices: list[str]):
    """Yield the environment of each rank: the variables that paddle.distributed.launch sets, too."""
    ports = _free_ports(number + 1)
    endpoints = [f"127.0.0.1:{port}" for port in ports]
    threads = max(1, available_cores() // number)
    loopback = "" if devices or _has_address() else _loopback()
    for rank in range(number):
        environment = dict(
            os.environ,
            PADDLE_MASTER=endpoints[-1],
            PADDLE_TRAINER_ID=str(rank),
            PADDLE_TRAINERS_NUM=str(number),
            PADDLE_TRAINER_ENDPOINTS=",".join(endpoints[:-1]),
            PADDLE_CURRENT_ENDPOINT=endpoints[rank],
            GLOG_minloglevel=os.environ.get("GLOG_minloglevel", "2"),
        )
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices[rank]
            environment[FOR_GPU] = "0"  # Paddle wants it: the first of those visible
        else:
            environment.setdefault("OMP_NUM_THREADS", str(threads))
            if loopback:
                environment.setdefault("GLOO_SOCKET_IFNAME", loopback)
        yield environment


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def _has_address() -> bool:
    """Return whether the machine's own name leads to an address: gloo asks for it."""
    try:
        return bool(socket.getaddrinfo(socket.gethostname(), 0))
    except OSError:
        return False


def _loopback() -> str:
    """Return the name of the interface by which the processes of a machine reach each other: "lo", "lo0"."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "")


def _wait_for_end(ranks: list[_Rank], asked: list[int]) -> None:
    """Return when all ranks have ended, or when one has failed and the others have had their time to end as well."""
    first_end = hurried = first_asked = None
    while any(rank.code is None for rank in ranks):
        now = time.monotonic()
        failed = [rank for rank in ranks if rank.code]
        if failed:
            first_end = first_end or now
            if now - first_end > (GRACE if asked or all(rank.echo for rank in failed) else ECHO):
                return
        if asked:
            first_asked = first_asked or now
            if now - first_asked > ALONE and any(rank.joins for rank in ranks):
                return
        if len(asked) > 1 and asked[-1] == signal.SIGINT:
            hurried = hurried or now
            if now - hurried > HURRY:
                return
        time.sleep(0.05)


def _blame(rank: _Rank) -> tuple[int, int]:
    """Orders the ranks that have failed: the cause first, then those that only fell over it."""
    if rank.echo:
        return 4, rank.number
    if rank.code < 0:  # Paddle's own threads abort when a connection breaks
        return (3 if rank.code == -signal.SIGABRT else 0), rank.number
    return (1 if rank.complains else 2), rank.number


def _explain(failed: _Rank, ranks: list[_Rank]) -> int:
    """Say why the run ended, unless rank 0 has said it; return the exit code."""
    code = failed.code
    if code in (130, 143):  # a signal to one rank alone: all have left together
        return code
    if failed.traceback or code not in (1, 2):
        _describe_crash(failed, len(ranks))
        return 1
    complaint = failed.tail[-1].removeprefix("error: ") if failed.tail else f"exit code {code}"
    was_seen = failed.number == 0 or f"error: {complaint}" in ranks[0].tail
    if failed.echo or not was_seen:  # an echo is held back, whoever says it
        print(f"error: rank {failed.number}: {complaint}", file=sys.stderr)
    return code


def _describe_crash(failed: _Rank, number: int) -> None:
    """Print the traceback of one of so many ranks, where it has left one, then how it ended and what it said last."""
    for line in failed.traceback:
        print(line, file=sys.stderr)
    code = failed.code
    how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    last = " | ".join(line[:200] for line in failed.tail if line not in failed.traceback) or "none"
    said = f"rank {failed.number} of {number} {how}; all ranks were ended; its last lines: {last}"
    print(f"error: {said}", file=sys.stderr)


def _follow_parent() -> None:
    """End this rank when the process that started it is gone, even killed."""
    fd = os.environ.get(LIFELINE)
    if fd is not None:
        threading.Thread(target=lambda: (os.read(int(fd), 1), os._exit(1)), daemon=True).start()
    elif "PADDLE_LOCAL_RANK" in os.environ and sys.platform == "linux":  # by Paddle's launcher, which makes no pipe
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
