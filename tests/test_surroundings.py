"""A machine without a temporary folder, a home, or room on its disks: scripts work, or end with one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, Workspace, run_python, run_script, says
from reader.filelist import read_list
from utils.config.flags import parse_flags
from utils.config.loading import load_config
from utils.storage.files import CACHE_VARIABLE

# An unknown user on a read-only disk.
STRANGE = """
import os, pwd, runpy, sys, tempfile

def unknown(*_):
    raise KeyError("no such user")

pwd.getpwuid = pwd.getpwnam = unknown
os.environ.pop("HOME", None)
tempfile._candidate_tempdir_list = lambda: [os.environ["TMPDIR"]]
"""
NOWHERE = {CACHE_VARIABLE: "", "XDG_CACHE_HOME": "", "TMPDIR": "/nonexistent"}


def run_strange(script: str, *flags: str, **environment: str) -> subprocess.CompletedProcess:
    """Return the ended process of a script on such a machine."""
    program = f"{STRANGE}\nrunpy.run_path(sys.argv.pop(1), run_name='__main__')"
    arguments = ["-c", program, f"{script}.py", *map(str, flags)]
    return run_python(arguments, {**os.environ, **NOWHERE, **environment}, ROOT, 120)


def flags_of(workspace: Workspace, folder: Path) -> list[str]:
    video = workspace.held_out[0][0]
    return [workspace.config, workspace.weights, f"--video_path={video}", f"--save_dir={folder}", "--report=False"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a folder in memory")
def test_without_home_and_temporary_folder_a_local_video_is_predicted(workspace, tmp_path):
    """Here all processes of the script are strange, and started by the system."""
    (tmp_path / "sitecustomize.py").write_text(STRANGE)
    process = run_script("predict", *flags_of(workspace, tmp_path), PYTHONPATH=str(tmp_path), **NOWHERE)
    assert (process.returncode, process.stderr) == (0, "")
    kept = f"the network cannot be kept for the next run (see {CACHE_VARIABLE}): there is no home folder\n"
    assert kept in process.stdout and (tmp_path / "predictions.json").exists()


NO_HOME = [  # more flags, environment, pieces of the message
    (["--weights=~nobody/TSN"], {}, ["~nobody/TSN: ", "no such weights", ".pdparams"]),
    ([], {CACHE_VARIABLE: "~nobody/cache"}, [f"{CACHE_VARIABLE}=~nobody/cache: ", "no such home folder"]),
    (["--save_dir=s3://b/o"], {}, ["s3://b/o: ", "a temporary folder", "no home folder"]),
]


@pytest.mark.parametrize("flags, environment, pieces", NO_HOME)
def test_a_missing_home_is_one_line(workspace, tmp_path, flags, environment, pieces):
    process = run_strange("predict", *flags_of(workspace, tmp_path / "out"), *flags, **environment)
    assert process.returncode == 2
    says(process.stderr, f"error: {pieces[0]}", *pieces[1:])


WITHOUT_OPENCV = """
import runpy, sys

sys.modules.pop("cv2", None)
sys.path.insert(1, sys.argv.pop(1))
runpy.run_path("predict.py", run_name="__main__")
"""


@pytest.mark.parametrize("flag, what", [
    ("--explain=True", "--explain"), ("--save_video=True", "--save_video"),
    ("--set=INFER.resize=opencv", "resize: opencv"),
])  # fmt: skip
def test_opencv_that_cannot_be_imported_is_one_line(workspace, tmp_path, flag, what):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    flags = [*flags_of(workspace, tmp_path / "out"), "--set=INFER.short_size=40", flag]
    process = run_python(["-c", WITHOUT_OPENCV, str(tmp_path), *flags], {**os.environ}, ROOT, 120)
    assert process.returncode == 2
    package = "opencv-python-headless", "ImportError: libGL.so.1: cannot open"
    says(process.stderr, f"error: {what} ", *package, "pip install -r requirements.txt")


@pytest.mark.parametrize("flag", ["--video_path=~/clip.mp4", "--filelist=~/a.list"])
def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path, flag):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.list").write_text("~/clip.mp4 0\n~/else.mp4 1\n")
    parsed = parse_flags("predict", ["--save_dir=~/out", flag])
    config = load_config("", parsed.section_overrides)
    assert parsed.save_dir == f"{tmp_path}/out"
    if config.infer.video_path:
        assert config.infer.video_path == f"{tmp_path}/clip.mp4"
    else:
        assert [entry.path for entry in read_list(config.infer.filelist, num_classes=2)] == [
            f"{tmp_path}/clip.mp4",
            f"{tmp_path}/else.mp4",
        ]


def test_weights_to_download_need_a_home(tmp_path):
    flags = ["--config=configs/tsn.yaml", f"--video_path={__file__}", f"--save_dir={tmp_path}", "--report=False"]
    process = run_strange("predict", *flags)
    assert process.returncode == 2
    says(process.stderr, "error: there is no home folder ", "download", "--weights=PATH")


@pytest.mark.parametrize("script", ["data/check", "data/make_lists"])
def test_lists_are_made_and_checked_without_a_temporary_folder(workspace, tmp_path, script):
    for label in "ab":
        (tmp_path / "videos" / label).mkdir(parents=True)
        for path, _ in workspace.videos[:3]:
            shutil.copy(path, tmp_path / "videos" / label)
    config, listed = workspace.config, workspace.folder / "test.list"
    flags = {"data/check": [listed, config], "data/make_lists": [f"--videos={tmp_path / 'videos'}"]}[script]
    process = run_strange(script, *flags, f"--out={tmp_path / 'out'}")
    assert (process.returncode, process.stderr) == (0, "")


MOUNT = f'mount -t tmpfs -o size=1m none "$TMPDIR" && exec "$0" "{ROOT}/predict.py" "$@"'


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a folder in memory")
def test_a_network_is_computed_where_the_disks_are_full(workspace, tmp_path):
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("needs a user who may mount")
    full = tmp_path / "full"
    full.mkdir()
    environment = {**os.environ, "TMPDIR": str(full), CACHE_VARIABLE: str(full / "cache")}
    command = ["unshare", "-m", "bash", "-c", MOUNT, sys.executable, *flags_of(workspace, tmp_path / "out")]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stderr) == (0, "")
    what = f"{full / 'cache'}: the network cannot be kept for the next run (see {CACHE_VARIABLE}): "
    assert what in process.stdout and (tmp_path / "out" / "predictions.json").exists()


SCRIPTS = ["predict", "eval", "train", "export", "serve", "live"]
SCRIPTS += [f"data/{name}" for name in ("check", "make_lists", "reencode", "make_demo")]


def test_scripts_start_from_any_folder_and_without_docstrings(tmp_path):
    """PYTHONSAFEPATH=1 leaves a script's folder out of the path. -OO removes docstrings and assertions."""
    (tmp_path / "utils.py").write_text("raise SystemExit('not this one')")
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    environment.pop("PYTHONPATH", None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path, "env": environment}
    commands = [[sys.executable, "-OO", ROOT / f"{name}.py", "--help"] for name in SCRIPTS]
    processes = [subprocess.Popen(command, **pipes) for command in commands]
    for script, process in zip(SCRIPTS, processes):
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "") and out.startswith("usage: python "), script
