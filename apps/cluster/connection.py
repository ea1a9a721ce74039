"""Connect to Ray for one run: start a cluster on this machine, or join an existing one."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from utils.errors import InputError, RunError
from utils.packages import import_extra
from utils.processes.limits import available_cores
from utils.processes.signals import signals_held

ROOT = Path(__file__).parents[2]
# Bytes of shared memory, close to Ray's minimum of 75 MB: only the names of videos pass through it.
_OBJECT_STORE = 100 << 20
_REACHABLE = 5.0  # seconds
_MARK = "TSN_RAY_RUN"


def import_ray():
    """Import ray so that it reports nothing to anybody. Raises InputError if it cannot be imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"  # Ray does the same by default, but with a warning
    return import_extra("ray", "--ray", "requirements-cluster.txt")


@contextlib.contextmanager
def connected(where: str) -> Iterator:
    """Open a context with the connected module ray. where: "local", "auto" or "HOST:PORT".

    Signals are handled as before; hold them while a function of ray runs (utils.processes.signals).

    Raises InputError if there is no such cluster.
    """
    local = where == "local"
    if not local:
        _check_reachable(where)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    how = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
        "runtime_env": {"env_vars": {"PYTHONPATH": path}},  # workers import the same modules as this process
    }
    with _own_processes() if local else contextlib.nullcontext() as folder:
        ray = import_ray()  # ray reads its environment during the import
        try:
            with signals_held():
                if local:
                    ray.init("local", num_cpus=available_cores(), include_dashboard=False, _temp_dir=folder,
                             object_store_memory=_OBJECT_STORE, **how)  # fmt: skip
                else:
                    ray.init(where, **how)
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            if local:
                raise RunError(f"--ray=local: Ray cannot be started: {reason}") from None
            hint = "if the cluster uses a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            raise InputError(f"--ray={where}: cannot connect to the Ray cluster: {reason}; {hint}") from None
        try:
            yield ray
        finally:
            with signals_held():
                ray.shutdown()


@contextlib.contextmanager
def _own_processes() -> Iterator[str]:
    """Open a context with a folder for Ray. When it, or this process, ends, all processes started inside end too."""
    # The paths of Ray's sockets, deep in this folder, must not be longer than 107 bytes.
    place = {"prefix": "tsn-ray-", "dir": "/tmp" if os.path.isdir("/tmp") else None}
    if not os.path.isdir("/proc/self"):
        with tempfile.TemporaryDirectory(**place, ignore_cleanup_errors=True) as folder:
            yield folder
        return
    folder = tempfile.mkdtemp(**place)
    mark = uuid.uuid4().hex
    # Do not start a process per core in advance: a worker has its core to itself from its first import on.
    added = {_MARK: mark, "RAY_prestart_worker_first_driver": "0"}
    if "RAY_AUTH_MODE" not in os.environ:
        # Ray's default, but with a token for this run only, which is not written to the home folder.
        added |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guardian.py")), f"{_MARK}={mark}", folder]
    # In its own session, Ctrl-C does not reach it.
    guardian = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    os.environ.update(added)  # /proc only shows a process's initial environment, so this process itself is not marked
    try:
        yield folder
    finally:
        for name in added:
            del os.environ[name]
        with signals_held():
            guardian.stdin.close()
            guardian.wait()


def _check_reachable(where: str) -> None:
    """Raise InputError if nobody listens at HOST:PORT; Ray itself takes minutes to notice."""
    if where == "auto":
        return
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _REACHABLE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--ray={where}: no Ray cluster answers there: {reason}; see ray status") from None
