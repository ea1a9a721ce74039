"""Every command of README.md and docs/, word for word in a copy of the repository, and what they print.

data/README.md has its tests in tests/data, CONTRIBUTING.md in tests/test_contributing.py, and the programs of
docs/export.md theirs in tests/models/graphs/test_exporting.py.
"""

import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from conftest import (
    ROOT,
    copy_repository,
    free_port,
    make_clip,
    reader_environment,
    run_command,
    run_python,
    start_python,
    synthetic_frames,
    wait_until,
)  # fmt: skip
from documentation import commands, english_pages, is_printed, printed_blocks, read_page
from paddlevideo_configs import PADDLEVIDEO, as_yaml
from weight_formats import random_state, write_pickle

# What is run elsewhere, as it needs another machine, or clips of several classes; and what needs a GPU's packages.
ELSEWHERE = {
    "bash run.sh doctor": "tests/apps/doctor/test_run.py",
    "python -m paddle.distributed.launch": "tests/training/test_ranks.py",
    "ray start": "tests/apps/cluster/test_ray.py",
    "--weights=pptsm": "tests/models/weights/test_published.py",
    "--ray=10.0.0.1:6379": "tests/apps/cluster/test_ray.py",
    "data/dataset/mine": "tests/data/test_guide.py",
    "tools/repeat.py": "tests/tools/test_repeat.py",
    "--folds 5": "tests/data/lists/test_folds.py",
    "requirements-gpu.txt": "tests/docs/test_pages.py",
}
# A script and its flags, with nothing that a shell would do something with: run as a fork, see fork_server.py.
_PLAIN = re.compile(r"python (train|eval|predict|export|data/\w+)\.py [\w/.=:*-]+( [\w/.=:*-]+)*")
# But one of each script is started as a reader types it.
_OF_EACH = (
    "train.py --model",
    "eval.py --model",
    "predict.py --config=configs/tsn.yaml",
    "export.py",
    "data/make_lists",
)


def is_elsewhere(command: str) -> bool:
    return any(words in command for words in ELSEWHERE)


TEXTS = [read_page(page) for page in english_pages()]
COMMANDS = list(dict.fromkeys(line for text in TEXTS for line in commands(text) if not is_elsewhere(line)))
BY_THE_SYSTEM = {next(line for line in COMMANDS if line.startswith(f"python {start}")) for start in _OF_EACH}
# pip looks, and installs nothing: what the pages name is there, or is found wanting. One look at all takes as long as
# at each.
_WANTED = [line.removeprefix("pip install ") for line in COMMANDS if line.startswith("pip install")]
ALL_INSTALLED = " ".join(["python -m pip install --dry-run --no-index --quiet", *_WANTED])
PRINTED = [found for text in TEXTS for found in printed_blocks(text) if not any(map(is_elsewhere, found[0]))]


class Shell:
    """Runs commands in a copy of the repository, each once. Servers go on while others are run."""

    def __init__(self, folder: Path):
        self.folder, self.outputs, self._servers = folder, {}, []
        self.ports = {"8000": free_port(), "8001": free_port()}

    def output(self, command: str) -> str:
        """Return what it prints, after it has ended well, or as a server listens."""
        if command.startswith("pip install"):
            command = ALL_INSTALLED
        if command not in self.outputs:
            if command.startswith("python serve.py"):
                self.outputs[command] = self._serve(command)
            else:
                self.outputs[command] = self._run(command)
        return self.outputs[command]

    def _run(self, command: str) -> str:
        if command.startswith("curl") and not shutil.which("curl"):
            pytest.skip("curl is not installed")
        for port, free in self.ports.items():
            command = command.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
        if _PLAIN.fullmatch(command) and command not in BY_THE_SYSTEM:
            ended = run_python(shlex.split(command)[1:], reader_environment(), self.folder, 240)
        else:
            ended = run_command(f"exec 2>&1; {command}", self.folder)
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0 and "Traceback" not in said, said[-2000:]
        return said

    def _serve(self, command: str) -> str:
        port = self.ports["8001" if "--port=8001" in command else "8000"]
        for number, earlier in self._servers:  # of another page: its reader would have pressed Ctrl-C
            if number == port:
                self._end(earlier)
        log, words = self.folder / f"serve.{len(self._servers)}.log", [*command.split()[1:], f"--port={port}"]
        process = start_python(words, reader_environment(), log, cwd=self.folder)
        self._servers.append((port, process))

        def listening() -> bool:
            assert process.poll() is None, log.read_text()
            return "serving on" in log.read_text()

        wait_until(listening, 120)
        return log.read_text()

    def close(self) -> list[int]:
        """Return the servers' exit codes."""
        return [self._end(process) for _, process in self._servers]

    def _end(self, process) -> int:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        return process.wait(60)


@pytest.fixture(scope="module")
def shell(tmp_path_factory, store):
    """In a copy with few clips for the demo, which trains for one epoch; a clip, lists, and random weights."""
    folder = tmp_path_factory.mktemp("docs") / "copy"
    copy_repository(folder, "tests")
    make_smaller(folder / "data/make_demo.py", r"default=\[40, 5, 10\]", "default=[2, 1, 1]")
    # The commands are the same for any depth and width, and each would take seconds with 50 layers or 512 channels.
    for name in ("tsn", "tsn_strong"):
        make_smaller(folder / f"configs/{name}.yaml", "num_layers: 50", "num_layers: 18")
    make_smaller(folder / "models/resnet.py", r"\b64\b", "8", times=5)
    make_smaller(folder / "models/resnet.py", r"\b512\b", "64")
    # A given engine: that the faster one is looked for has its tests in tests/training/test_cpu_engine.py.
    make_smaller(folder / "configs/tsn_demo.yaml", r"epoch: 4\b", "epoch: 1\n    engine: onednn")
    make_clip(folder / "clip.mp4", synthetic_frames(0, 0))
    (folder / "infer.list").write_text("clip.mp4\n")
    (folder / "tsm_k400_videos.yaml").write_text(as_yaml(PADDLEVIDEO["tsm_k400_videos, 71329cff"].tree()))
    for number in range(10):
        clip = folder / "clips" / ("calm", "fight")[number % 2] / f"{number}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        make_clip(clip, synthetic_frames(number % 2, number))
    clips = folder / "benchmarks/results/clips"  # in place of those that the benchmark would make
    clips.mkdir(parents=True)
    for number in range(8):
        make_clip(clips / f"340x256_default_10s_{number}.mp4", synthetic_frames(0, number))
    for name, num_classes in (("TSN", 400), ("demo", 8)):
        write_pickle(folder / f"{name}.pdparams", random_state(18, num_classes, narrow=True))
    store.put("TSN.pdparams", folder / "demo.pdparams")
    store.put("infer.list", f"{store.put('clip.mp4', folder / 'clip.mp4')}\n".encode())
    shell = Shell(folder)
    yield shell
    assert set(shell.close()) <= {0, 143}


def make_smaller(file: Path, pattern: str, replacement: str, times: int = 1) -> None:
    text, number = re.subn(pattern, replacement, file.read_text())
    assert number == times, (file, pattern)
    file.write_text(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command, shell):
    shell.output(command)


@pytest.mark.parametrize("lines, shown", PRINTED, ids=[shown.split("\n")[0][:40] for _, shown in PRINTED])
def test_what_a_page_shows_is_printed(lines, shown, shell):
    output = "".join(shell.output(command) for command in lines)
    assert is_printed(shown, output), output[-3000:]


@pytest.mark.parametrize("words, file", ELSEWHERE.items())
def test_what_is_run_elsewhere_still_stands_in_a_page(words, file):
    assert any(words in line for text in TEXTS for line in commands(text)) and (ROOT / file).exists()
