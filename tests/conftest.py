"""Tools for many tests: tiny lossless clips, a tiny configuration, random weights, and scripts as processes."""

import gc
import io
import json
import os
import pickle
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before fork_server.py copies the environment for its processes; the reason is below.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Before NumPy is imported: its second thread only waits for the first one, and keeps a core busy with that.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before paddle is imported: its threads would spin for a fifth of a second after each piece of work.
os.environ.setdefault("KMP_BLOCKTIME", "0")

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from fork_server import forks_folder, process_file, start_python, trace_in_forks
from weight_formats import write_original_pdparams

if TYPE_CHECKING:
    from object_store import Store
    from server_process import Server

# All processes of the tests inherit this folder from the first one, and so share the servers that fork.
forks_folder()

# If a shell starts the tests in the background, they ignore Ctrl-C, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Compiled modules are kept, whatever the environment says. Otherwise each process would compile all tests, and each
# program that they start would compile all its imports.
sys.dont_write_bytecode = False

ROOT = Path(__file__).parents[1]
NUM_CLASSES = 4
LABELS = ["opening a door", "closing a door", "walking_past", "waving"]


def make_clip(path: Path, frames: np.ndarray, fps: int = 25) -> None:
    """Write uint8 frames [T, H, W, 3] as lossless H.264, which does not depend on the encoder's version."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264rgb", rate=fps, options={"qp": "0", "preset": "ultrafast", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "rgb24"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))


def synthetic_frames(label: int, seed: int, length: int = 12, height: int = 36, width: int = 44) -> np.ndarray:
    """Return uint8 [length, height, width, 3]: noise in which a square of the class's colour drifts to the right."""
    random = np.random.default_rng([label, seed])
    frames = random.integers(40, 120, (length, height, width, 3), dtype=np.uint8)
    colour = [(230, 30, 30), (30, 230, 30), (30, 30, 230), (230, 230, 30)][label]
    for number, frame in enumerate(frames):
        left = number * (width - 16) // length
        frame[8:24, left : left + 16] = colour
    return frames


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Return uint8 [height, width, 3]: coarse shapes with noise, from 0 to 255."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    return np.clip(np.asarray(coarse) + random.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)


def frame_pickle(label: int) -> bytes:
    """Return a video of four 44x36 JPEG frames in the original's second format."""
    file = io.BytesIO()
    Image.new("RGB", (44, 36), (50 * min(label, 5), 0, 0)).save(file, "JPEG")
    return pickle.dumps(("video", label, [file.getvalue()] * 4), 2)


def write_list(path: Path, videos: list[tuple[Path, int]]) -> Path:
    """Write `path label` lines and return the list's path."""
    path.write_text("".join(f"{video} {label}\n" for video, label in videos))
    return path


@dataclass
class Workspace:
    """A folder with everything that the scripts need."""

    folder: Path
    videos: list[tuple[Path, int]]  # 10 of training, with labels
    held_out: list[tuple[Path, int]]  # 5

    @property
    def config(self) -> str:
        return f"--config={self.folder / 'tiny.yaml'}"

    @property
    def weights(self) -> str:
        return f"--weights={self.folder / 'random.pdparams'}"


# The slowest files begin first. Otherwise one process would still run them when the others have ended.
LONGEST = (
    "docs/test_commands.py", "apps/cluster/test_ray.py", "test_scripts.py", "utils/processes/test_machines.py",
    "data/test_guide.py", "training/test_cpu_engine.py", "training/test_ranks.py", "apps/doctor/test_gpu.py",
    "data/test_reencode.py", "training/test_recipe.py", "apps/serving/test_page.py", "inference/test_int8.py",
    "apps/serving/test_page_answers.py", "test_without_paddle.py", "apps/live/test_live.py",
    "results/pages/test_browser.py", "apps/doctor/test_run.py", "test_surroundings.py", "tools/test_repeat.py",
    "inference/test_engine.py", "data/test_make_demo.py", "test_contributing.py", "models/graphs/test_exporting.py",
    "training/test_resume.py", "results/test_openvino_format.py", "reader/test_remote.py", "training/test_frozen.py",
    "test_protocols.py", "apps/live/test_stream_reader.py", "test_parity.py", "fuzz/test_hostile_files.py",
    "test_bad_input.py", "test_interrupted.py", "fuzz/test_fuzz.py", "apps/serving/test_leaving.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests and all modules, which stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> None:
    """Keep graphs in a folder of the tests, not in the user's cache.

    All processes of the tests share the folder, because a graph takes seconds to make.
    """
    base = tmp_path_factory.getbasetemp()
    os.environ["PADDLE_TSN_CACHE"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")


@pytest.fixture(scope="session", autouse=True)
def tracing() -> None:
    """Let a fork of a process that has imported paddle trace the graphs of the tests' own process."""
    trace_in_forks()


@pytest.fixture
def narrow_networks(monkeypatch) -> None:
    """Let ResNets of this process have an eighth of their channels, for what does not depend on how many there are."""
    from narrow import narrow_here

    narrow_here(monkeypatch.setattr)


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Provide a folder for this test's temporary files, also for those of the processes that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def store() -> "Iterator[Store]":
    """Provide a real S3 server on this machine; the environment names it as the endpoint."""
    from object_store import Store  # skips where pyarrow or the server is not installed

    with Store() as server:
        yield server


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    """Make clips of 4 classes, their lists, labels, a configuration of a ResNet-18 on 32x32 crops, random weights."""
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "my clips").mkdir()
    videos = []
    for number in range(15):
        path = folder / "my clips" / f"clip {number}.mp4"
        make_clip(path, synthetic_frames(number % NUM_CLASSES, number, length=12 + number))
        videos.append((path, number % NUM_CLASSES))
    write_list(folder / "train.list", videos[:10])
    write_list(folder / "test.list", videos[10:])
    (folder / "labels.json").write_text(json.dumps(LABELS))
    # The engine is given, because the one that is measured as faster is not the same on every machine.
    reading = {"short_size": 36, "target_size": 32, "num_reader_threads": 1, "buf_size": 8}
    tree = {
        "MODEL": {"name": "TSN", "num_classes": NUM_CLASSES, "seg_num": 3, "num_layers": 18, "topk": 3},
        "TRAIN": {**reading, "filelist": str(folder / "train.list"), "batch_size": 4, "epoch": 2, "engine": "eager"},
        "VALID": {**reading, "filelist": str(folder / "test.list"), "batch_size": 4},
        "TEST": {**reading, "filelist": str(folder / "test.list"), "batch_size": 3, "seg_num": 4},
        "INFER": {
            **reading, "filelist": str(folder / "test.list"), "batch_size": 2,
            "precision": "float32",  # on any processor
            "kinetics_labels": str(folder / "labels.json"),
        },
    }  # fmt: skip
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree))
    write_original_pdparams(folder / "random.pdparams", num_layers=18, num_classes=NUM_CLASSES)
    return Workspace(folder, videos[:10], videos[10:])


@pytest.fixture(scope="session")
def server(workspace, tmp_path_factory) -> "Iterator[Server]":
    """Provide a serve.py with small limits."""
    pytest.importorskip("fastapi")
    from server_process import Server

    limits = "--max_upload_mb=1", "--max_seconds=5", "--max_waiting=4"
    with Server(tmp_path_factory.mktemp("server"), workspace.config, workspace.weights, *limits) as running:
        yield running


def python_files() -> list[Path]:
    """Return the Python files of the repository, relative to its root, without hidden folders and environments."""
    folders = [path for path in ROOT.glob("[!.]*/") if not (path / "pyvenv.cfg").exists()]
    found = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    return sorted(path.relative_to(ROOT) for path in found)


def copy_repository(folder: Path, *without: str) -> None:
    """Copy the repository without the outputs of runs, and without the folders `without`."""
    left = {"runs", "benchmarks/results", *without}
    left |= {
        f"data/{name}" for name in ("demo", "checkpoints", "evaluate_results", "predict_results", "inference_model")
    }

    def ignored(place: str, names: list[str]) -> set[str]:
        inside = Path(place).relative_to(ROOT)
        hidden = {name for name in names if name.startswith(".") or name == "__pycache__"}
        return hidden | {name for name in names if (inside / name).as_posix() in left}

    shutil.copytree(ROOT, folder, ignore=ignored)


def reader_environment(**env: str) -> dict[str, str]:
    """Return the environment of a reader in a copy of the repository, where Python keeps compiled modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | env


def run_command(command: str, cwd: Path, timeout: float = 240) -> subprocess.CompletedProcess:
    """Run a line of shell as a reader of the documentation types it, with our Python as `python`."""
    environment = f"VIRTUAL_ENV={shlex.quote(sys.prefix)} PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    line = ["bash", "-c", f"export {environment}; {command}"]
    return subprocess.run(line, cwd=cwd, env=reader_environment(), capture_output=True, text=True, timeout=timeout)


def run_script(
    script: str, *flags: str, cwd: Path = ROOT, timeout: float = 120, real: bool = False, **env: str
) -> subprocess.CompletedProcess:
    """Return the ended process of `python SCRIPT.py FLAGS`, with its stdout and stderr as text.

    real: let the system start it. Otherwise it is a fork unless the environment forbids that, see fork_server.py.
    """
    arguments, environment = [str(ROOT / f"{script}.py"), *map(str, flags)], {**os.environ, **env}
    return run_python(arguments, environment, cwd, timeout, real)


def run_narrow(script: str, *flags: str, **env: str) -> subprocess.CompletedProcess:
    """Return the same for a script whose networks have an eighth of their channels; see narrow.py."""
    return run_script("tests/narrow", *flags, TSN_TEST_SCRIPT=script, **env)


def run_python(
    arguments: list[str],
    environment: dict[str, str],
    cwd: Path,
    timeout: float,
    real: bool = False,
    kind: str | None = None,
) -> subprocess.CompletedProcess:
    """Return the same for `python ARGUMENTS`. kind: see ForkServer; None: that of the script, the first argument."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder, "out"), Path(folder, "errors")
        process = start_python(arguments, environment, out, errors, cwd, real, kind)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        texts = [path.read_text(errors="surrogateescape") for path in (out, errors)]
    return subprocess.CompletedProcess(arguments, code, *texts)


def snapshot(folder: Path) -> dict[str, bytes | str]:
    """Return the content of every file below the folder, the target of every link, and the folders.

    A page's content comes without the time and command that made it, without commands that name its folder, and without
    the number of folders that its links go up.
    """
    content = {}
    for path in sorted(folder.rglob("*")):
        if path.name == ".made.json":  # holds the other files' times
            continue
        name = str(path.relative_to(folder))
        content[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
        if name.endswith(".html"):
            of_folder = rb'<dl class="facts made">.*?</dl>|<pre[^>]*>python .*?</pre>|(?:\.\./)+'
            content[name] = re.sub(of_folder, b"", content[name])
    return content


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Open a context in which no file of this process can grow beyond `size` bytes, as on a full disk.

    Python keeps no compiled modules in it, because it would silently keep half of one.
    """
    import resource

    before, wrote = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = wrote


def says(message: object, *pieces: str) -> None:
    """Assert that the message is one line: it starts with the first piece and has the others after it, in order.

    A number at the edge of a piece is a whole number of the message: "not 3" is not in "not 31".
    """
    text, place = str(message), 0
    assert len(text.splitlines()) == 1 and text.startswith(pieces[0]), f"not one line from {pieces[0]!r} on: {text}"
    for piece in pieces:
        before, after = r"(?<!\d)" if piece[:1].isdigit() else "", r"(?!\d)" if piece[-1:].isdigit() else ""
        found = re.compile(f"{before}{re.escape(piece)}{after}").search(text, place)
        assert found, f"{piece!r} is not there, or not after the pieces before it: {text}"
        place = found.end()


def wait_until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Call `condition()` until its result is true, and return the result."""
    limit = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)
    return result


def free_port() -> int:
    """Return a free port of 127.0.0.1, outside the range from which the system chooses ports itself."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def children(pid: int | str) -> list[int]:
    """Return the living children of a process, or of this one ("self"); needs /proc."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has just ended
            found += map(int, (thread / "children").read_text().split())
    return found


def processes(mark: str) -> list[int]:
    """Return the ids of all living processes with `mark` in their environment; needs /proc."""
    found = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [pid for pid in found if mark.encode() in process_file(pid, "environ")]


def memory_files() -> set[Path]:
    """Return the files of shared memory, without folders."""
    with os.scandir("/dev/shm") as entries:
        return {Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)}


def forgotten(before: set[Path]) -> set[Path]:
    """Return the files of shared memory that are new since `before` and that no living process holds."""
    if not (new := memory_files() - before):
        return new
    held = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has just ended
            held |= set(re.findall(r"/dev/shm/.+", (process / "maps").read_text()))
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):  # it has just been closed
                    held.add(os.readlink(descriptor))
    return {path for path in new if str(path) not in held}
