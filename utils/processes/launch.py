"""One command, several processes: starts a rank per device, passes signals on, ends all of them when one dies."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from importlib import metadata

from utils.errors import InputError
from utils.processes.channel import PEER_GONE
from utils.processes.limits import available_cores
from utils.processes.ranks import RANK_MARK, env_size

# Seconds in which, after the first rank has ended, the others may end as well and say why.
ECHO = 3.0
# The same where the others end by themselves: after a signal, or when the cause has not ended yet.
GRACE = 20.0
# The same after a second Ctrl-C.
HURRY = 3.0
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
    # paddle.distributed.launch may also start a single process.
    if env_size() > 1 or "PADDLE_LOCAL_RANK" in os.environ:
        if nproc is not None and LIFELINE not in os.environ:
            raise InputError(f"--nproc={nproc}: a launcher has started {env_size()} processes already")
        _follow_parent()
        return
    devices = _visible_gpus() if use_gpu else []
    if devices and nproc is not None and nproc != len(devices):
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
        # Held back, as they may only be the echo of another rank's end.
        self.traceback: list[str] = []
        self.echo = False
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
            if line.startswith(f"error: {PEER_GONE}"):
                self.echo = True
            elif self.traceback or line.startswith("Traceback (most recent call last)"):
                self.traceback.append(line)
            elif self.number == 0 or line.startswith(RANK_MARK):
                with contextlib.suppress(OSError):  # nobody reads any more: the rank must not wait for that
                    print(line, file=target, flush=True)

    @property
    def code(self) -> int | None:
        """The exit code, negative after a signal; None while it runs."""
        return self.process.poll()

    @property
    def complains(self) -> bool:
        """Whether it has ended with an error line of its own."""
        return self.code in (1, 2) and not self.traceback and not self.echo

    def finish(self) -> None:
        """Ends the process if it still runs, and reads what it has said."""
        if self.code is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(2)


def _run_ranks(number: int, devices: list[str]) -> int:
    """The exit code of the run: that of the rank that made it fail, 130 or 143 after a signal, else 0."""
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
        for i, environment in enumerate(_environments(number, devices, read_end)):
            if not asked:
                ranks.append(_Rank(i, environment, read_end))
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
            environment["FLAGS_selected_gpus"] = "0"  # Paddle wants it: the first of those visible
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


def _wait_for_end(ranks: list[_Rank], asked: list[int]) -> None:
    """Returns when all ranks have ended, or when one has failed and the others have had their time to end as well."""
    first_end = hurried = None
    while any(rank.code is None for rank in ranks):
        now = time.monotonic()
        failed = [rank for rank in ranks if rank.code]
        if failed:
            first_end = first_end or now
            if now - first_end > (GRACE if asked or all(rank.echo for rank in failed) else ECHO):
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
    """Says why the run ended, unless rank 0 has said it; returns the exit code."""
    code = failed.code
    if code in (130, 143):  # a signal to one rank alone: all have left together
        return code
    if code in (1, 2) and not failed.traceback:
        complaint = failed.tail[-1].removeprefix("error: ") if failed.tail else f"exit code {code}"
        if failed.echo or failed.number > 0 and f"error: {complaint}" not in ranks[0].tail:
            print(f"error: rank {failed.number}: {complaint}", file=sys.stderr)
        return code
    print("\n".join(failed.traceback), end="\n" if failed.traceback else "", file=sys.stderr)
    how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    last = " | ".join(line[:200] for line in failed.tail if line not in failed.traceback) or "none"
    print(
        f"error: rank {failed.number} of {len(ranks)} {how}; all ranks were ended; its last lines: {last}",
        file=sys.stderr,
    )
    return 1


def _follow_parent() -> None:
    """Ends this rank when the process that started it is gone, even killed."""
    fd = os.environ.get(LIFELINE)
    if fd is not None:
        threading.Thread(target=lambda: (os.read(int(fd), 1), os._exit(1)), daemon=True).start()
