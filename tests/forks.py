"""Make a fork of tests/fork_server.py behave like a Python that the system has just started.

Its reader processes and its ranks are forks, too, where the script would start an interpreter for each. They get the
descriptors, signals, session and environment that they would have had, and what is sent to them is pickled.
"""

import atexit
import fcntl
import importlib
import inspect
import io
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from multiprocessing import popen_spawn_posix, resource_tracker, util
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
# Python does not reset these; paddle's handlers of the last five print pages.
_SIGNALS = "SIGTERM", "SIGCHLD", "SIGHUP", "SIGUSR1", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"
_OURS = tuple(f"{path}{os.sep}" if path.is_dir() else str(path) for path in ROOT.iterdir() if path.name[0] != ".")
_launching = threading.local()
_WRAPPED = "encoding", "errors", "line_buffering", "write_through"  # what a fork keeps of a standard stream
_streams: list[object] = []  # kept, because a collected stream would write its parent's output again


def started(command: list[str], prepare: Callable[[], object], folder: Path) -> int:
    """Fork a process that calls `prepare` and then runs `python COMMAND`; return its number.

    folder: for the file about it, which stands in for /proc.
    """
    if (pid := os.fork()) == 0:
        try:
            prepare()
            _begin()
            _tell(command, folder)
        except BaseException:
            traceback.print_exc()
            os._exit(70)
        _live(command)
    return pid


def become(environment: Mapping[str, str]) -> None:
    """Replace the environment."""
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    tempfile.tempdir = None


def keep(descriptors: Iterable[int]) -> None:
    """Close all descriptors except these and the standard streams.

    Their numbers stay in use, because an object from before the fork may still close the number that it holds.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number not in descriptors:
            with suppress(OSError):
                os.fstat(number)  # fails for the listing's own, which is closed
                os.dup2(nothing, number, inheritable=False)


def _begin() -> None:
    for name in _SIGNALS:
        if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _streams.extend((sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        how = {key: getattr(getattr(sys, f"__{name}__"), key) for key in _WRAPPED}
        stream = io.FileIO(number, "w" if number else "r", closefd=False)
        if not how["write_through"]:
            stream = io.BufferedWriter(stream) if number else io.BufferedReader(stream)
        text = io.TextIOWrapper(stream, **how)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    resource_tracker._resource_tracker._fd = resource_tracker._resource_tracker._pid = None
    if child := sys.modules.get("utils.processes.child"):
        child._STARTING = threading.Lock()  # the thread that forked holds it
    if pools := sys.modules.get("concurrent.futures.thread"):
        pools._threads_queues.clear()  # threads of the parent, which do not exist here


def _tell(command: list[str], folder: Path) -> None:
    about = {
        "start": state(os.getpid())[1],
        "cmdline": [sys.executable, *command],
        "environ": [f"{name}={value}" for name, value in os.environ.items()],
    }
    unfinished = folder / f".{os.getpid()}"
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # the test limits the files of its program only
    unfinished.write_text(json.dumps(about), errors="surrogateescape")
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    unfinished.rename(folder / str(os.getpid()))


def state(pid: int) -> tuple[str, str]:
    """Return a process's (state, start time in ticks); numbers alone are not unique, as they are used again."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], fields[19]


def _live(command: list[str]) -> NoReturn:
    """Run a program and end as Python would end it, without ever returning to the code that forked."""
    code: object = 70
    try:
        try:
            _run(command)
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # the stream is closed: Python's resource tracker does that
                stream.flush()
    finally:
        os._exit(code)


def _run(command: list[str]) -> None:
    """Run `python COMMAND`, where the command is -c TEXT, -m MODULE, or FILE, and arguments."""
    what, *rest = command
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    if what == "-c":
        if Path("models").is_dir() and Path.cwd() != ROOT:  # a process of a program in a copy of the repository
            _forget_modules()
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(compile(rest[0], "<string>", "exec"), program.__dict__)
    elif what == "-m":
        sys.argv, sys.path[0] = rest, os.getcwd()
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        folder = Path(what).resolve().parent
        if not folder.is_relative_to(ROOT):  # it has modules of its own, or is in a copy of the repository
            _forget_modules()
        sys.argv, sys.path[0] = list(command), str(folder)
        program.__dict__.update(__file__=os.path.abspath(what), __builtins__=__builtins__)
        exec(compile(Path(what).read_bytes(), what, "exec"), program.__dict__)


def _forget_modules() -> None:
    """Forget the repository's modules, so that the program imports its own."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(_OURS):
            del sys.modules[name]


def fork_instead_of_starting(folder: Path) -> None:
    """Let readers, ranks and Python's resource tracker be forks of the process that starts them from now on."""
    execute, signature = subprocess.Popen._execute_child, inspect.signature(subprocess.Popen._execute_child)

    def spawn_or_fork(spawn: Callable, work: str, path: str, arguments: list[str], descriptors: list[int]) -> int:
        tracker = "multiprocessing.resource_tracker" in arguments[-1]
        forks = work.partition(".")[0] in ("reader", "data") and not _uses_object_storage()
        if not (tracker or forks):
            return spawn(path, arguments, descriptors)

        def prepare() -> None:
            atexit._clear()  # its parent's
            keep(descriptors)

        _let_imports_end()
        return started(_command(arguments), prepare, folder)

    def execute_or_fork(process: subprocess.Popen, *arguments) -> None:
        given = signature.bind(process, *arguments).arguments
        if given["args"] != [sys.executable, *sys.argv]:
            return execute(process, *arguments)

        def prepare() -> None:
            if given["start_new_session"]:
                os.setsid()
            for number, name in enumerate(("p2cread", "c2pwrite", "errwrite")):
                if given[name] != -1:
                    os.dup2(given[name], number)
            keep(given["pass_fds"])
            become(given["env"])
            if Path(sys.argv[0]).resolve().parent != ROOT:  # a program of the tests, which may have changed modules
                _forget_modules()

        process.pid, process._child_created = started(sys.argv, prepare, folder), True
        names = "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"
        process._close_pipe_fds(*(given[name] for name in names))

    _change_spawn(spawn_or_fork)
    subprocess.Popen._execute_child = execute_or_fork


def trace_in_forks_of(place: Callable[[], Path]) -> None:
    """Let forks of the server at `place`, which has imported paddle, trace graphs from now on."""

    def spawn_or_ask(spawn: Callable, work: str, path: str, arguments: list[str], descriptors: list[int]) -> int:
        if not work.endswith((".trace.serve", ".trace_narrow")):
            return spawn(path, arguments, descriptors)
        server = str(place())
        if (pid := os.fork()) == 0:
            try:
                _stand_for(server, _command(arguments), [0, 1, 2, *descriptors])
            finally:
                os._exit(70)
        return pid

    _change_spawn(spawn_or_ask)


def _let_imports_end() -> None:
    """Wait until no other thread imports: a fork would hold the import's locks for ever, and half of its libraries."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        locks = [reference() for reference in list(importlib._bootstrap._module_locks.values())]
        if not any(lock and lock.owner not in (None, threading.get_ident()) for lock in locks):
            return
        time.sleep(0.001)


def _uses_object_storage() -> bool:
    """Return whether this process has a client of object storage; its threads would be missing in a fork."""
    objects = sys.modules.get("utils.storage.objects")
    return objects is not None and objects._s3.cache_info().currsize > 0


def _command(arguments: list[str]) -> list[str]:
    """Return the arguments after the interpreter and its flags, which are those of this process."""
    return arguments[1 + len(util._args_from_interpreter_flags()) :]


def _stand_for(server: str, command: list[str], descriptors: list[int]) -> None:
    """Ask the server for a fork with these descriptors, and end as it ends. If this process ends, so does the fork."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(server)
        request = json.dumps([command, dict(os.environ), os.getcwd(), descriptors])
        socket.send_fds(connection, [request.encode()], descriptors)
        keep([connection.fileno()])
        for number in (0, 1, 2):
            os.close(number)
        code = int(connection.recv(100) or b"70")
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def take_over(environment: Mapping[str, str], cwd: str, numbers: list[int], descriptors: list[int]) -> None:
    """Give a fork these descriptors under the numbers that they have in the process that sent them."""
    held = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10 + max(numbers)) for descriptor in descriptors]
    for number, descriptor in zip(numbers, held, strict=True):
        os.dup2(descriptor, number)
    keep(numbers)
    become(environment)
    os.chdir(cwd)


def _change_spawn(change: Callable) -> None:
    """Have `change(spawn, work, path, arguments, descriptors)` start processes in place of multiprocessing's own.

    work: the name of the function that the process runs, see utils/processes/child.py.
    """
    launch, spawn = popen_spawn_posix.Popen._launch, util.spawnv_passfds

    def remember(process: popen_spawn_posix.Popen, described) -> None:
        serve = described._args[0] if described._args else None
        _launching.work = f"{serve.__module__}.{serve.__qualname__}" if inspect.isfunction(serve) else ""
        try:
            launch(process, described)
        finally:
            _launching.work = ""

    popen_spawn_posix.Popen._launch = remember
    util.spawnv_passfds = lambda *arguments: change(spawn, getattr(_launching, "work", ""), *arguments)
