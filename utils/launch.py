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
from utils.distributed import env_size
from utils.errors import InputError

# Seconds that the other ranks have after the first one has ended on a signal.
GRACE = 5.0
LAST_LINES = 15
LIFELINE = "TSN_LIFELINE_FD"


def start_ranks(nproc: int | None, use_gpu: bool) -> None:
    """Returns where one process is enough, or in a rank; else starts the ranks, waits, and exits as they did.

    Args:
        nproc: --nproc: processes on the CPU. None: one per visible GPU if GPUs are used, else one.

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
    if (number := nproc or max(1, len(devices))) > 1:
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


def _run_ranks(number: int, devices: list[str]) -> int:
    """The exit code of the run: that of the first rank to fail, 130 or 143 after a signal, else 0."""
    read_end, write_end = os.pipe()  # the ranks see its end when this process is gone
    tails = [deque(maxlen=LAST_LINES) for _ in range(number)]
    ranks: list[subprocess.Popen] = []
    asked: list[int] = []

    def pass_on(signal_number, frame):
        asked.append(signal_number)
        for rank in ranks:
            if rank.poll() is None:
                rank.send_signal(signal_number)

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, pass_on)
    try:
        for environment in _environments(number, devices, read_end):
            ranks.append(
                subprocess.Popen(
                    [sys.executable, *sys.argv], env=environment, pass_fds=[read_end], start_new_session=True,
                    stdout=None if not ranks else subprocess.PIPE, stderr=subprocess.PIPE,
                )
            )  # fmt: skip
        forwarders = [
            threading.Thread(target=_forward, args=(stream, tails[i], sys.stderr if i == 0 else None), daemon=True)
            for i, rank in enumerate(ranks) for stream in (rank.stdout, rank.stderr) if stream
        ]  # fmt: skip
        for thread in forwarders:
            thread.start()
        failed = _wait_for_end(ranks, asked)
    finally:
        _end(ranks)
    for thread in forwarders:
        thread.join(2)
    os.close(write_end)
    if asked:
        return 130 if asked[0] == signal.SIGINT else 143
    return 0 if failed is None else _explain(failed, ranks, tails)


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


def _forward(stream, tail: deque, target) -> None:
    """Keeps the last lines of a rank; passes on, as it comes, what rank 0 says."""
    pending = b""
    while chunk := stream.read1(65536):
        if target is not None:
            target.buffer.write(chunk)
            target.buffer.flush()
        *lines, pending = (pending + chunk).replace(b"\r", b"\n").split(b"\n")
        tail.extend(line.decode(errors="replace") for line in lines if line.strip())
    if pending.strip():
        tail.append(pending.decode(errors="replace"))


def _wait_for_end(ranks: list[subprocess.Popen], asked: list[int]) -> int | None:
    """The first rank that failed, or None when all have ended well.

    After a signal the ranks end by themselves, one soon after the other: none is taken for a failure until GRACE.
    """
    first_end = None
    while True:
        codes = [rank.poll() for rank in ranks]
        failed = next((i for i, code in enumerate(codes) if code), None)
        if failed is not None:
            first_end = first_end or time.monotonic()
            if not asked or None not in codes or time.monotonic() - first_end > GRACE:
                return failed
        elif None not in codes:
            return None
        time.sleep(0.05)


def _end(ranks: list[subprocess.Popen]) -> None:
    # A killed rank leaves the others waiting in a collective, deaf to SIGTERM: those that failed with a message of
    # their own get two seconds to print it, then all are killed.
    deadline = time.monotonic() + 2
    while any(rank.poll() is None for rank in ranks) and time.monotonic() < deadline:
        time.sleep(0.05)
    for rank in ranks:
        if rank.poll() is None:
            rank.kill()
    for rank in ranks:
        rank.wait()


def _explain(failed: int, ranks: list[subprocess.Popen], tails: list[deque]) -> int:
    """Says why the run ended, unless rank 0 has said it; returns the exit code."""
    code = ranks[failed].returncode
    last = list(tails[failed])
    if code in (1, 2) and last and last[-1].startswith("error: "):
        if ranks[0].returncode != code:
            print(f"error: rank {failed}: {last[-1].removeprefix('error: ')}", file=sys.stderr)
        return code
    how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    lines = " | ".join(last) or "none"
    print(f"error: rank {failed} of {len(ranks)} {how}; all ranks were ended; its last lines: {lines}", file=sys.stderr)
    return 1


def _follow_parent() -> None:
    """Ends this rank when the process that started it is gone, even killed."""
    fd = os.environ.get(LIFELINE)
    if fd is not None:
        threading.Thread(target=lambda: (os.read(int(fd), 1), os._exit(1)), daemon=True).start()
