"""One command, several processes: start a rank per device, pass signals on, end all ranks when one dies."""

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

# Seconds that the other ranks have to end and say why, after the first rank has failed.
ECHO = 3.0
# The same if the others end by themselves: after a signal, or while the rank that is the cause still runs.
GRACE = 20.0
# The same after a signal if the ranks have not connected yet, and perhaps never will.
ALONE = 5.0
# The same after a second Ctrl-C.
HURRY = 3.0
LAST_LINES = 5
LIFELINE = "TSN_LIFELINE_FD"


def start_ranks(nproc: int | None, use_gpu: bool, useful: int = 1_000_000) -> None:
    """Return if one process is enough, or in a rank; otherwise start the ranks, wait, and exit with their code.

    Args:
        nproc: --nproc: processes on the CPU. None: one per visible GPU if GPUs are used, else one.
        useful: more processes than this would have nothing to do.

    Raises:
        InputError: --nproc together with a launcher, or for GPUs; fewer GPUs are visible than are listed.
    """
    # The second test: paddle.distributed.launch may also start a single process.
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
    """A rank's process and its last lines; it passes on some of the process's output."""

    def __init__(self, number: int, environment: dict[str, str], lifeline: int, links: list[int]):
        self.number = number
        self.tail: deque[str] = deque(maxlen=LAST_LINES)
        # Held back, because a traceback may be a mere consequence of another rank's end.
        self.traceback: list[str] = []
        self.echo = False
        self._joining, theirs = os.pipe()  # the rank closes its end when it has joined the others
        environment |= {LIFELINE: str(lifeline), LINKS: ",".join(map(str, links)), JOINING: str(theirs)}
        # A session of its own: Ctrl-C reaches only this process, which passes it on.
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
                # If nobody reads any more, or nothing can be written, the rank must not wait.
                with contextlib.suppress(OSError, RunError):
                    target.write(f"{line}\n")  # print() writes twice, and another rank's line may come in between
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
        """Whether it has not yet connected to the other ranks; until then it may not react to signals."""
        return self.code is None and not select.select([self._joining], [], [], 0)[0]

    def finish(self) -> None:
        """End the process if it still runs, and read the rest of its output."""
        if self.code is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(2)
        os.close(self._joining)


def _run_ranks(number: int, devices: list[str]) -> int:
    """Return the exit code of the run: the code of the rank that made it fail, 130 or 143 after a signal, else 0."""
    read_end, write_end = os.pipe()  # it breaks when this process is gone, which the ranks notice
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
        if asked and len(ranks) < number:  # a rank that was just being started did not get the signal
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
    """Yield the environment of each rank, with the variables that paddle.distributed.launch sets."""
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
            environment[FOR_GPU] = "0"  # Paddle requires it: the first visible GPU
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
    """Return whether the machine's own name resolves to an address, which gloo needs."""
    try:
        return bool(socket.getaddrinfo(socket.gethostname(), 0))
    except OSError:
        return False


def _loopback() -> str:
    """Return the name of the loopback interface, such as "lo" or "lo0"."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "")


def _wait_for_end(ranks: list[_Rank], asked: list[int]) -> None:
    """Wait until all ranks have ended, or until one has failed and the others' time to end is over."""
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
    """Return a sort key of failed ranks: the cause comes first, then the ranks that failed as a consequence."""
    if rank.echo:
        return 4, rank.number
    if rank.code < 0:  # Paddle's own threads abort when a connection breaks
        return (3 if rank.code == -signal.SIGABRT else 0), rank.number
    return (1 if rank.complains else 2), rank.number


def _explain(failed: _Rank, ranks: list[_Rank]) -> int:
    """Print why the run ended, unless rank 0 has printed it; return the exit code."""
    code = failed.code
    if code in (130, 143):  # only one rank got a signal, and all ranks ended together
        return code
    if failed.traceback or code not in (1, 2):
        _describe_crash(failed, len(ranks))
        return 1
    complaint = failed.tail[-1].removeprefix("error: ") if failed.tail else f"exit code {code}"
    was_seen = failed.number == 0 or f"error: {complaint}" in ranks[0].tail
    if failed.echo or not was_seen:  # `_forward` holds back an echo from any rank
        print(f"error: rank {failed.number}: {complaint}", file=sys.stderr)
    return code


def _describe_crash(failed: _Rank, number: int) -> None:
    """Print the traceback of a failed rank, if it left one, then how it ended and its last lines."""
    for line in failed.traceback:
        print(line, file=sys.stderr)
    code = failed.code
    how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    last = " | ".join(line[:200] for line in failed.tail if line not in failed.traceback) or "none"
    said = f"rank {failed.number} of {number} {how}; all ranks were ended; its last lines: {last}"
    print(f"error: {said}", file=sys.stderr)


def _follow_parent() -> None:
    """End this rank when the process that started it is gone, even if it was killed."""
    fd = os.environ.get(LIFELINE)
    if fd is not None:
        threading.Thread(target=lambda: (os.read(int(fd), 1), os._exit(1)), daemon=True).start()
    elif "PADDLE_LOCAL_RANK" in os.environ and sys.platform == "linux":  # Paddle's launcher makes no pipe
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
