"""A cluster of Ray's for as long as a run takes: one of this machine alone, or one that is there."""

import contextlib
import logging
import os
import shutil
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
# Bytes of shared memory. What goes through Ray are names of videos; the least that it takes are 75 MB.
_OBJECT_STORE = 100 << 20
_REACHABLE = 5.0  # seconds
_MARK = "TSN_RAY_RUN"


def import_ray():
    """Import ray so that it reports nothing to anybody. Raises InputError where it cannot be imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"  # as it does anyway, but with a warning
    return import_extra("ray", "--ray", "requirements-cluster.txt")


@contextlib.contextmanager
def connected(where: str) -> Iterator:
    """Open a context with the module ray, connected. where: "local", "auto" or "HOST:PORT".

    Signals are handled as before: while a function of ray's runs they must be held (utils.processes.signals).

    Raises InputError where there is no such cluster.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    how = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
        "runtime_env": {"env_vars": {"PYTHONPATH": path}},  # workers import what this process imports
    }
    with _own_processes() if where == "local" else contextlib.nullcontext() as folder:
        ray = import_ray()  # it reads its environment as it is imported
        try:
            with signals_held():
                if where == "local":
                    ray.init("local", num_cpus=available_cores(), include_dashboard=False, _temp_dir=folder,
                             object_store_memory=_OBJECT_STORE, **how)  # fmt: skip
                else:
                    _check_reachable(where)
                    ray.init(where, **how)
        except InputError:
            raise
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            kind = RunError if where == "local" else InputError
            hint = "" if where == "local" else "; one that asks for a token needs RAY_AUTH_MODE=token"
            raise kind(f"--ray={where}: Ray cannot be started or found: {reason}{hint}") from None
        try:
            yield ray
        finally:
            with signals_held():
                ray.shutdown()


@contextlib.contextmanager
def _own_processes() -> Iterator[str]:
    """Open a context with a folder for Ray, at whose end, or this process's, all that was started within it is gone."""
    # Its sockets lie deep within, and their paths must not be longer than 107 bytes.
    folder = tempfile.mkdtemp(prefix="tsn-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)
    if not os.path.isdir("/proc/self"):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    mark = uuid.uuid4().hex
    # Without a process for each core ahead: a worker has its core to itself from its first import on.
    added = {_MARK: mark, "RAY_prestart_worker_first_driver": "0"}
    if "RAY_AUTH_MODE" not in os.environ:
        # Ray's own choice, but with a token for this run alone, and none written to the home folder.
        added |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guardian.py")), f"{_MARK}={mark}", folder]
    # A session of its own: Ctrl-C is none of its business.
    guardian = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    os.environ.update(added)  # /proc shows the environment that this process itself was started with
    try:
        yield folder
    finally:
        for name in added:
            del os.environ[name]
        with signals_held():
            guardian.stdin.close()
            guardian.wait()


def _check_reachable(where: str) -> None:
    """Raise InputError where nobody listens at HOST:PORT; Ray itself takes minutes to say so."""
    if where == "auto":
        return
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _REACHABLE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--ray={where}: no cluster can be reached there: {reason}") from None
