"""Run scripts as forks of a process that has already imported their packages, so a run costs no imports.

A fork is still a process of its own, with its own session, environment, working folder and log. It can be killed,
stopped and starved. Some runs must be started by the system: those with flags for the interpreter, and those that
change a variable which Python or a library reads while it is imported.
"""

import atexit
import fcntl
import gc
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from forks import ROOT, become, fork_instead_of_starting, keep, started, state, take_over, trace_in_forks_of

_READING = ("cv2", "reader.build", "reader.dataset", "utils.processes.world")
_ANSWERING = ("inference.graph", "inference.network", "results.pages.page", "results.passes", "results.task", *_READING)
# The modules that each kind of server has imported.
IMPORTED = {
    "train": ("training.run", *_ANSWERING),
    "export": ("models.graphs.exporting", "results.openvino_format", *_READING),
    "read": ("apps.serving.app", *_ANSWERING),
}
_LONGEST = 1 << 20  # bytes of a message
_FOLDER = "TSN_TEST_FORKS"  # the environment variable that holds forks_folder()
_started: list[subprocess.Popen] = []  # servers that this process started, and which may outlive it
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # before any test has changed it
# Environment variables that Python or the server's imports have already read. LD_LIBRARY_PATH is not among them:
# OpenCV changes it in every process that imports it, and so in the server, too.
_READ = re.compile(r"PYTHON(?!DONTWRITEBYTECODE)|LC_|LANG|LD_(?!LIBRARY_PATH)|FLAGS_|KMP_|OPENBLAS_|MKL_|MALLOC_")


class ForkServer:
    """A connection to a process that forks. That process ends when nobody is connected to it any more."""

    def __init__(self, kind: str):
        """kind: "train" has imported paddle as train.py does, "export" as export.py does, "read" has not."""
        self._socket = connected(kind)
        self._ended: dict[int, int] = {}  # process -> its exit code

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        errors: Path | None = None,
        cwd: Path = ROOT,
        largest_file: int | None = None,
    ) -> "ForkedProcess":
        """Start `python COMMAND` with this environment and working folder; its output goes to the log.

        Args:
            errors: the file for its stderr; None: the log.
            largest_file: a limit in bytes, as `ulimit -f` sets it. Such a process keeps no compiled modules, because
                Python would silently keep half of one.
        """
        log.touch()
        request = [list(command), dict(environment), str(cwd), str(log), str(errors or log), largest_file]
        self._socket.send(json.dumps(request).encode())
        while isinstance(message := self._receive(None), list):
            self._ended[message[0]] = message[1]
        self._ended.pop(message, None)  # of an earlier process with the same number
        return ForkedProcess(self, message)

    def exit_code(self, pid: int, seconds: float | None) -> int | None:
        """Wait up to `seconds` (None: for ever) and return the exit code of a process, or None if it still runs."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while pid not in self._ended:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            message = self._receive(left)
            if message is None:
                return None
            self._ended[message[0]] = message[1]
        return self._ended[pid]

    def _receive(self, seconds: float | None):
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        message = self._socket.recv(_LONGEST)
        assert message, "the process that forks has ended"
        return json.loads(message)


class ForkedProcess:
    """The part of subprocess.Popen's interface that the tests need."""

    def __init__(self, server: ForkServer, pid: int):
        self._server, self.pid = server, pid

    @property
    def returncode(self) -> int | None:
        return self._server.exit_code(self.pid, 0)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        code = self._server.exit_code(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def may_fork(environment: Mapping[str, str]) -> bool:
    """Return whether the variables that were read before the fork have the same values in this environment."""
    names = {*environment, *_ENVIRONMENT}
    return not any(_READ.match(name) and environment.get(name) != _ENVIRONMENT.get(name) for name in names)


def connected(kind: str) -> socket.socket:
    """Connect to the server that all processes of the tests share; the first process that needs it starts it."""
    folder = forks_folder()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with open(folder / f"{kind}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(OSError):  # no server is there, or it is about to end
            connection.connect(str(folder / kind))
            return connection
        command = [sys.executable, __file__, kind, str(folder)]
        # In a group of its own, so Ctrl-C does not reach it. It ends when we have ended.
        _started.append(
            subprocess.Popen(command, cwd=ROOT, env=_ENVIRONMENT, stdout=subprocess.DEVNULL, process_group=0)
        )
        connection.connect(str(listening(kind, folder)))
    return connection


@cache
def fork_server(kind: str) -> ForkServer:
    """Return this process's connection, made on the first call."""
    server = ForkServer(kind)
    if kind != "train":
        fork_server("train")  # it traces the graphs of the other kinds
    return server


def start_python(
    arguments: list[str],
    environment: dict[str, str],
    log: Path,
    errors: Path | None = None,
    cwd: Path = ROOT,
    real: bool = False,
    kind: str | None = None,
) -> ForkedProcess | subprocess.Popen:
    """Start `python ARGUMENTS`, as a fork if its environment allows that and `real` is False.

    Its output goes to `log`, and its stderr to `errors` (None: to the log, too).
    """
    script = Path(arguments[0]).stem
    narrow = script == "narrow"
    if narrow:
        script = environment.get("TSN_TEST_SCRIPT", "train")
    kind = kind or {"train": "train", "export": "export"}.get(script, "train" if narrow else "read")
    if not real and may_fork(environment):
        return fork_server(kind).start(arguments, environment, log, errors, cwd)
    with open(log, "wb") as out, open(errors or log, "ab") as err:
        command = [sys.executable, *arguments]
        streams = {"stdout": out, "stderr": err if errors else out}
        return subprocess.Popen(command, cwd=cwd, env=environment, start_new_session=True, **streams)


def trace_in_forks() -> None:
    """Let forks of the server trace the graphs that this process needs from now on."""
    trace_in_forks_of(lambda: fork_server("train") and listening("train", forks_folder()))


def listening(kind: str, folder: Path) -> Path:
    """Wait until such a server listens, and return its socket's path."""
    end = time.monotonic() + 100
    while not (place := folder / kind).exists():
        assert time.monotonic() < end, f"the server {kind} has not come up"
        time.sleep(0.01)
    return place


def forks_folder() -> Path:
    """Return the folder with the servers' sockets, and with a file about each fork, named after its number."""
    if _FOLDER not in os.environ:  # in the first process; the others inherit its environment
        os.environ[_FOLDER] = folder = tempfile.mkdtemp(prefix="forks-")
        atexit.register(shutil.rmtree, folder)
    return Path(os.environ[_FOLDER])


def process_file(pid: int, name: str) -> bytes:
    """Return /proc/PID/NAME; for a fork, what this would be if the system had started it; b"" if it has ended.

    name: "environ" or "cmdline".
    """
    try:
        about = json.loads((forks_folder() / str(pid)).read_text())
        if (now := state(pid))[1] == about["start"]:
            return os.fsencode("\0".join(about[name]) + "\0") if now[0] != "Z" else b""
    except OSError:
        pass
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def serve(kind: str, folder: Path) -> None:
    """Fork for each request and report the fork's end, until nobody is connected any more.

    A request with descriptors is the only one on its connection, and the fork gets these descriptors. The output of a
    fork without descriptors goes to files.
    """
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(folder / f".{os.getpid()}"))
    listener.listen(64)
    os.rename(folder / f".{os.getpid()}", folder / kind)
    connections: set[socket.socket] = set()
    asked: dict[int, socket.socket] = {}  # process -> the connection that gets its exit code
    single: dict[socket.socket, int] = {}  # the connection of a request with descriptors -> its process
    while True:
        ready, _, _ = select.select([wake, listener, *connections], [], [], 60)
        if wake in ready:
            os.read(wake, 4096)
        if listener in ready:
            connections.add(listener.accept()[0])
        for connection in connections.intersection(ready):
            message, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, 100)
            if not message:  # the other end has gone
                connections.remove(connection)
                connection.close()
                if connection in single:
                    with suppress(ProcessLookupError):
                        os.kill(single.pop(connection), signal.SIGKILL)
                continue
            command, *how = json.loads(message)
            if descriptors:
                pid = started(command, lambda how=how, given=descriptors: take_over(*how, given), folder)
                single[connection] = pid
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                pid = started(command, lambda how=how: prepare(*how), folder)
                connection.send(json.dumps(pid).encode())
            asked[pid] = connection
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                connection, code = asked.pop(ended[0], None), os.waitstatus_to_exitcode(ended[1])
                with suppress(OSError):  # it is closed
                    if single.pop(connection, None):
                        connection.send(str(code).encode())
                    elif connection:
                        connection.send(json.dumps([ended[0], code]).encode())
        if not connections and listener not in ready and has_left(folder / kind, listener):
            return


def has_left(place: Path, listener: socket.socket) -> bool:
    """Remove the server's socket, and return whether nobody has connected in the meantime."""
    with suppress(FileNotFoundError):
        place.unlink()
    return not select.select([listener], [], [], 0)[0]


def prepare(environment: dict[str, str], cwd: str, log: str, errors: str, largest_file: int | None) -> None:
    """Turn a fork into an independent process."""
    signal.set_wakeup_fd(-1)
    os.setsid()
    become(environment if largest_file is None else {**environment, "PYTHONDONTWRITEBYTECODE": "1"})
    os.chdir(cwd)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    err = out if errors == log else os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, err)):
        os.dup2(source, descriptor)
    keep([])
    if largest_file is not None:
        import resource

        # Only the soft limit: forks.py raises it to write the file about the fork.
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))


def main(kind: str, folder: str) -> None:
    """Import the modules, then fork for requests."""
    sys.path[0] = str(ROOT)
    from utils.cli import quieten_paddle
    from utils.config.published import published_weights

    quieten_paddle()
    if kind == "train":
        from training.environment import set_environment

        set_environment()
    if kind != "read":
        from utils.processes.device import import_paddle

        import_paddle()
    for name in IMPORTED[kind]:
        with suppress(ImportError):  # not all packages are everywhere
            import_module(name)
    published_weights()  # is read once and kept
    if pages := sys.modules.get("results.pages.page"):
        for name in pages._pages().list_templates(["html"]):
            pages._pages().get_template(name)
    assert kind != "read" or "paddle" not in sys.modules
    # The garbage collector must not write to these objects: forks share their memory until someone does.
    gc.freeze()

    fork_instead_of_starting(Path(folder))
    trace_in_forks_of(lambda: listening("train", Path(folder)))
    serve(kind, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
