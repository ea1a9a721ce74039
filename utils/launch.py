"""One command, several processes: starts a rank per device, passes signals on, ends all of them when one dies."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from importlib import metadata

from utils.cores import available_cores
from utils.distributed import RANK_MARK, env_size
from utils.errors import InputError

# Seconds that the other ranks have after the first one has ended on a signal.
GRACE = 5.0
# Seconds in which other ranks may fail because of the first one, or say what is wrong with them all.
ECHO = 1.0
LAST_LINES = 5
LIFELINE = "TSN_LIFELINE_FD"


def start_ranks(nproc: int | None, use_gpu: bool, useful: int = 1_000_000) -> None:
    """Returns where one process is enough, or in a rank; else starts the ranks, waits, and exits as they did.

    Args:
        nproc: --nproc: processes on the CPU. None: one per visible GPU if GPUs are used, else one.
        useful: more processes than this would have nothing to do.

    Raises:
        InputError: --nproc together with a launcher, or for GPUs.
    """
    if env_size() > 1:
        if nproc is not None and LIFELINE not in os.environ:
            raise InputError(f"--nproc={nproc}: a launcher has started {env_size()} processes already")
        _follow_parent()
        return
    devices = _visible_gpus() if use_gpu else []
    if nproc is not None and len(devices) > 1:
        raise InputError(f"--nproc={nproc} is for the CPU: on GPUs CUDA_VISIBLE_DEVICES says how many processes run")
    if (number := min(nproc or max(1, len(devices)), useful)) > 1:
        sys.exit(_run_ranks(number, devices))


def _visible_gpus() -> list[str]:
    try:
        metadata.version("paddlepaddle-gpu")
    except metadata.PackageNotFoundError:
        return []
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return [device for device in visible.split(",") if device]
    import paddle

    return [str(i) for i in range(paddle.device.cuda.device_count())]


class _Rank:
    """A rank's process, its last lines, and what is passed on of what it says."""

    def __init__(self, number: int, environment: dict[str, str], lifeline: int):
        self.number = number
        self.tail: deque[str] = deque(maxlen=LAST_LINES)
        self.traceback: list[str] = []  # held back: where another rank has died, it is only an echo of that
        # A session of its own: Ctrl-C reaches this process alone, which passes it on.
        self.process = subprocess.Popen(
            [sys.executable, *sys.argv], env=environment, pass_fds=[lifeline], start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        pairs = ((self.process.stdout, sys.stdout), (self.process.stderr, sys.stderr))
        self._threads = [threading.Thread(target=self._forward, args=pair, daemon=True) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _forward(self, stream, target) -> None:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            self.tail.append(line)
            if self.traceback or line.startswith("Traceback (most recent call last)"):
                self.traceback.append(line)
            elif self.number == 0 or line.startswith(RANK_MARK):
                print(line, file=target, flush=True)

    def finish(self) -> None:
        """Ends the process if it still runs, and reads what it has said."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(2)


def _run_ranks(number: int, devices: list[str]) -> int:
    """The exit code of the run: that of the first rank to fail, 130 or 143 after a signal, else 0."""
    read_end, write_end = os.pipe()  # the ranks see its end when this process is gone
    ranks: list[_Rank] = []
    asked: list[int] = []

    def pass_on(signal_number, frame):
        asked.append(signal_number)
        for rank in ranks:
            if rank.process.poll() is None:
                rank.process.send_signal(signal_number)

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, pass_on)
    try:
        for i, environment in enumerate(_environments(number, devices, read_end)):
            ranks.append(_Rank(i, environment, read_end))
        failed = _wait_for_end(ranks, asked)
    finally:
        for rank in ranks:
            rank.finish()
        os.close(write_end)
        os.close(read_end)
    if asked:
        return 130 if asked[0] == signal.SIGINT else 143
    return _explain(failed, number) if failed else 0


def _environments(number: int, devices: list[str], lifeline: int):
    """The environment of each rank: the variables that paddle.distributed.launch sets, too."""
    ports = _free_ports(number + 1)
    endpoints = [f"127.0.0.1:{port}" for port in ports]
    threads = max(1, available_cores() // number)
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
        environment[LIFELINE] = str(lifeline)
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices[rank]
        else:
            environment.setdefault("OMP_NUM_THREADS", str(threads))
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


def _wait_for_end(ranks: list[_Rank], asked: list[int]) -> _Rank | None:
    """The rank that made the run fail, or None when all have ended well.

    The end of one rank breaks the connections of the others, which then fail as well: of those that end within
    ECHO seconds, one that a signal killed is the cause, else one that ends with an error line of its own.
    After a signal to this process the ranks end by themselves one after the other, within GRACE seconds.
    """
    first_end = None
    while True:
        ended = [rank for rank in ranks if rank.process.poll() is not None]
        failed = [rank for rank in ended if rank.process.returncode]
        if failed and first_end is None:
            first_end = time.monotonic()
        waited = time.monotonic() - first_end if failed else 0.0
        if len(ended) == len(ranks) or waited > (GRACE if asked else ECHO):
            return min(failed, key=_blame, default=None)
        time.sleep(0.05)


def _blame(rank: _Rank) -> tuple[bool, bool, int]:
    return rank.process.returncode > 0, bool(rank.traceback), rank.number


def _explain(failed: _Rank, number: int) -> int:
    """Says why the run ended, unless rank 0 has said it; returns the exit code."""
    code = failed.process.returncode
    if code in (1, 2) and not failed.traceback:
        if failed.number > 0:
            complaint = failed.tail[-1] if failed.tail else f"error: exit code {code}"
            print(f"error: rank {failed.number}: {complaint.removeprefix('error: ')}", file=sys.stderr)
        return code
    print("\n".join(failed.traceback), end="\n" if failed.traceback else "", file=sys.stderr)
    how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    last = " | ".join(line for line in failed.tail if line not in failed.traceback) or "none"
    print(f"error: rank {failed.number} of {number} {how}; all ranks were ended; its last lines: {last}", file=sys.stderr)
    return 1


def _follow_parent() -> None:
    """Ends this rank when the process that started it is gone, even killed."""
    fd = os.environ.get(LIFELINE)
    if fd is not None:
        threading.Thread(target=lambda: (os.read(int(fd), 1), os._exit(1)), daemon=True).start()
