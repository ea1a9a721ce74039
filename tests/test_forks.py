"""Test that a fork of tests/fork_server.py behaves like a Python process that the system has started."""

import importlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from conftest import processes, run_python, start_python, wait_until
from fork_server import fork_server, process_file
from forks import _let_imports_end

ABOUT = """
import atexit, json, os, signal, sys, tempfile, threading

atexit.register(lambda: print("the end", flush=True))
handlers = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)]
streams = [(stream.encoding, stream.errors, stream.line_buffering) for stream in (sys.stdin, sys.stdout, sys.stderr)]
environment = {name: value for name, value in os.environ.items() if name not in ("LC_CTYPE", "OMP_NUM_THREADS")}
print(json.dumps([
    __name__, __file__, sys.argv, sys.path[0], os.getcwd(), sorted(environment.items()), handlers, streams,
    sys.stdin.read(), tempfile.gettempdir(), threading.current_thread() is threading.main_thread(),
    sys.dont_write_bytecode, "paddle" in sys.modules,
]))
print("complaint", file=sys.stderr)
"""
ENDINGS = {
    "pass": 0,
    "raise SystemExit(3)": 3,
    "raise SystemExit('said')": 1,
    "raise ValueError('oh')": 1,
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)": -signal.SIGTERM,
    "import threading, time; threading.Thread(target=lambda: time.sleep(0.1) or print('late')).start()": 0,
}


def run(program: str, folder: Path, real: bool, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    (folder / "program.py").write_text(program)
    return run_python(["program.py", *arguments], {**os.environ, **env}, folder, 60, real)


@pytest.mark.parametrize("kind", ["pyc", "none"])
def test_it_sees_what_a_started_one_sees(tmp_path, kind):
    (tmp_path / "temporary").mkdir()
    given = {
        "TMPDIR": str(tmp_path / "temporary"),
        "SAID": "ä\n",
        "PYTHONDONTWRITEBYTECODE": "" if kind == "pyc" else "1",
    }
    started, forked = (run(ABOUT, tmp_path, real, "a b", "--c", **given) for real in (True, False))
    assert (started.returncode, started.stderr) == (forked.returncode, forked.stderr) == (0, "complaint\n")
    assert forked.stdout.endswith("the end\n")
    assert started.stdout == forked.stdout


@pytest.mark.parametrize("program", ENDINGS)
def test_it_ends_as_a_started_one_ends(tmp_path, program):
    started, forked = (run(program, tmp_path, real) for real in (True, False))
    assert (started.returncode, started.stdout) == (forked.returncode, forked.stdout)
    assert forked.returncode == ENDINGS[program]
    assert started.stderr.splitlines()[-1:] == forked.stderr.splitlines()[-1:]


def test_what_python_takes_at_its_start_is_not_for_a_fork(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('started')")
    assert run("", tmp_path, False, PYTHONPATH=str(tmp_path)).stdout == "started\n"


def test_a_program_of_another_folder_has_its_own_modules(tmp_path):
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "errors.py").write_text("WHOSE = 'its own'")
    assert run("import utils.errors; print(utils.errors.WHOSE)", tmp_path, False).stdout == "its own\n"


def test_it_is_found_and_killed_as_a_started_one(tmp_path):
    (tmp_path / "program.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)")
    mark = f"MARK={tmp_path}"
    process = start_python(["program.py"], {**os.environ, "MARK": str(tmp_path)}, tmp_path / "log", cwd=tmp_path)
    wait_until((tmp_path / "log").read_text)
    assert processes(mark) == [process.pid] and b"\0program.py\0" in process_file(process.pid, "cmdline")
    assert os.getsid(process.pid) == process.pid
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL and processes(mark) == []
    assert process_file(process.pid, "environ") == b""


def test_with_a_limit_of_files_nothing_is_compiled_to_one(tmp_path):
    (tmp_path / "long.py").write_text("\n".join(f"x{number} = 'text {number}'" for number in range(400)))
    program = "import long\nwith open('file', 'wb', 0) as file:\n    file.write(b'x' * 4000)\n    file.write(b'x')"
    (tmp_path / "program.py").write_text(program)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    log, how = tmp_path / "log", {"cwd": tmp_path, "largest_file": 3000}
    assert fork_server("read").start(["program.py"], environment, log, **how).wait(60) == 1
    assert "File too large" in log.read_text() and not (tmp_path / "__pycache__").exists()


def test_no_reader_is_forked_while_another_thread_imports(tmp_path, monkeypatch):
    (tmp_path / "slowly_imported.py").write_text("import time; time.sleep(0.5); done = True")
    monkeypatch.syspath_prepend(str(tmp_path))
    thread = threading.Thread(target=importlib.import_module, args=("slowly_imported",))
    thread.start()
    wait_until(lambda: "slowly_imported" in sys.modules)
    assert not hasattr(sys.modules["slowly_imported"], "done")
    _let_imports_end()
    assert sys.modules.pop("slowly_imported").done
    thread.join()
