"""Test mistakes with files and flags: each gives one line and exit code 2, and writes nothing."""

import json
import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest

from conftest import LABELS, ROOT, run_python, run_script, snapshot
from utils.processes.device import gpus_to_use

SCRIPTS = ("train", "eval", "predict", "export")
# Files of earlier runs in the folder for results.
EARLIER = (
    "config.yaml",
    "train_log.jsonl",
    "TSN.pdparams",
    "metrics.json",
    "predictions.csv",
    "predictions.json",
    "model.json",
)


# Calls the main function of each row's script, all in one process, and prints their errors.
PROGRAM = """
import importlib, json, sys

path, rows = json.loads(sys.argv[1])
sys.path[:0] = path
said = []
for script, flags in rows:
    sys.argv = [f"{script}.py", *flags]
    try:
        importlib.import_module(script).main()
        said.append("nothing")
    except BaseException as error:
        said.append(f"{type(error).__name__}: {error}")
print(json.dumps(said))
"""


def fill(folder: Path, workspace) -> None:
    """Write tiny.yaml, lists and labels by relative names, broken files, and results of earlier runs."""
    for name in ("train.list", "test.list", "labels.json"):
        shutil.copy(workspace.folder / name, folder)
    text = (workspace.folder / "tiny.yaml").read_text().replace(f"{workspace.folder}/", "")
    (folder / "tiny.yaml").write_text(text)
    (folder / "random.pdparams").symlink_to(workspace.folder / "random.pdparams")
    (folder / "results").mkdir()
    for name in EARLIER:
        (folder / "results" / name).write_text(f"earlier {name}")
    video = str(workspace.videos[0][0])
    (folder / "file").write_text("mine")
    (folder / "empty").touch()
    (folder / "blank.list").write_text("\n \n")
    (folder / "malformed.list").write_text(f"{video} 0\n{video}\n")
    (folder / "range.list").write_text(f"\n{video} 4\n")
    (folder / "binary").write_bytes(Path(sys.executable).read_bytes()[:10_000])
    (folder / "three.json").write_text(json.dumps(LABELS[:3]))
    (folder / "no.json").write_text("abseiling\n")
    (folder / "syntax.yaml").write_text("MODEL:\n  name: [TSN\n")
    (folder / "key.yaml").write_text("MODEL:\n  nmae: TSN\n")
    (folder / "twice.yaml").write_text("TRAIN:\n  epoch: 1\n  epoch: 2\n")
    (folder / "broken.link").symlink_to("nowhere")


@pytest.fixture
def place(workspace, tmp_path, monkeypatch) -> Path:
    """Provide the current folder, filled by `fill`."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, workspace)
    return tmp_path


def errors(rows: list[tuple[str, list[str]]], folder: Path, kind: str, *path: str) -> list[str]:
    """Return the errors that PROGRAM prints for rows of (script, flags). The folder must stay as it is.

    kind: "train" for a process with paddle, "read" for one without, see ForkServer. path: folders for sys.path.
    """
    before = snapshot(folder)
    command = ["-c", PROGRAM, json.dumps([[*path, str(ROOT)], rows])]
    ended = run_python(command, dict(os.environ), folder, timeout=240, kind=kind)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert snapshot(folder) == before
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def without_paddle(tmp_path_factory) -> str:
    """Provide a folder for sys.path in which `import paddle` fails, because errors must come before it."""
    folder = tmp_path_factory.mktemp("without_paddle")
    (folder / "paddle.py").write_text("raise RuntimeError('paddle was imported')")
    return str(folder)


NO_LIST = "no.list: no such file list"
# script, flags, the line after "error: "
BEFORE_PADDLE = [
    *((script, "--config=no.yaml", "no.yaml: cannot be read: No such file or directory") for script in SCRIPTS),
    ("train", "--config=results", "results: "),
    ("train", "--config=syntax.yaml", "syntax.yaml:3: not valid YAML: "),
    ("train", "--config=key.yaml", "key.yaml:2: unknown key MODEL.nmae; did you mean name?"),
    ("train", "--config=twice.yaml", "twice.yaml:3: "),
    ("train", "--config=binary", "binary"),
    ("train", "--batch_size=yes", "--batch_size=yes: expected a whole number from 1 to 65536, not yes"),
    ("train", "--epoch=0", "--epoch=0: expected a whole number from 1 to 1000000, not 0"),
    ("train", "--learning_rate=nan", "--learning_rate=nan: expected a number above 0, not nan"),
    ("train", "--set TRAIN.epohc=1", "--set TRAIN.epohc=1: unknown key TRAIN.epohc; did you mean epoch?"),
    ("train", "--weights=w", "unknown flag --weights; see train.py --help"),
    ("export", "--format=tflite", "--format=tflite: expected one of paddle, onnx, openvino, not tflite"),
    ("eval", "--infer_topk=3", "unknown flag --infer_topk; see eval.py --help"),
    ("predict", "--infer_topk=5", "--infer_topk=5: INFER: topk 5 is larger than num_classes 4"),
    ("predict", "video.mp4", "unexpected argument video.mp4; did you mean --video_path=video.mp4?"),
    *((script, f"--save_dir={path}", f"--save_dir={path}: {why}") for script in SCRIPTS for path, why in (
        ("file", "file is not a folder"),
        ("file/below", "file is not a folder"),
    )),
    ("eval", "--save_dir=broken.link", "--save_dir=broken.link: broken.link is a link to nowhere"),
    ("predict", "--save_dir=/proc/x", "--save_dir=/proc/x: /proc cannot be written: No such file or directory"),
    ("train", "--set TRAIN.filelist=no.list", NO_LIST),
    ("train", "--set VALID.filelist=no.list", NO_LIST),
    ("eval", "--set TEST.filelist=no.list", NO_LIST),
    ("predict", "--filelist=no.list", NO_LIST),
    ("train", "--set TRAIN.filelist=results", "results: the file list cannot be read: Is a directory"),
    ("train", "--set TRAIN.filelist=empty", "empty: the file list is empty"),
    ("train", "--set VALID.filelist=blank.list", "blank.list: the file list is empty"),
    ("predict", "--filelist=blank.list", "blank.list: the file list is empty"),
    ("train", "--set TRAIN.filelist=malformed.list", "malformed.list:2: expected 'path label', got '"),
    ("eval", "--set TEST.filelist=malformed.list", "malformed.list:2: expected 'path label', got '"),
    ("train", "--set VALID.filelist=range.list", "range.list:2: label 4 is outside 0..3 (num_classes is 4)"),
    ("eval", "--set TEST.filelist=range.list", "range.list:2: label 4 is outside 0..3 (num_classes is 4)"),
    ("predict", "--filelist=range.list", "range.list:2: label 4 is outside 0..3 (num_classes is 4)"),
    ("predict", "--filelist=binary", "binary:1: not a line of a file list: '"),
    ("predict", "--set INFER.kinetics_labels=none.json", "none.json: no such label list (INFER.kinetics_labels)"),
    ("predict", "--set INFER.kinetics_labels=three.json", "three.json: 3 labels, but MODEL.num_classes is 4"),
    ("eval", "--set INFER.kinetics_labels=three.json", "three.json: 3 labels, but MODEL.num_classes is 4"),
    ("eval", "--set INFER.kinetics_labels=no.json", "no.json: the label list is not JSON: "),
    ("predict", "--video_path=no.mp4", "no.mp4: no such file"),
    ("predict", "--video_path=results", "results: no video below this folder (.mp4, .m4v, "),
    ("predict", "--video_path=no*.mp4", "no*.mp4: no video matches this pattern (.mp4, .m4v, "),
    ("predict", "--window=0", "--window=0: expected a number from 0.1 to 86400, not 0"),
    ("predict", "--stride=1", "--stride=1: needs --window=SECONDS"),
    ("predict", "--video_path=empty", "empty: the file is empty"),
]  # fmt: skip


def quick_flags(script: str, flags: str) -> list[str]:
    given = ["--config=tiny.yaml", "--save_dir=results", *flags.split(" ")]
    return given + ([] if script == "train" else ["--weights=random.pdparams"] if "--weights" not in flags else [])


@pytest.fixture(scope="module")
def said_before(workspace, without_paddle, tmp_path_factory) -> list[str]:
    """Provide the error for each row of BEFORE_PADDLE, from a process in which paddle cannot be imported."""
    folder = tmp_path_factory.mktemp("before")
    fill(folder, workspace)
    rows = [(script, quick_flags(script, flags)) for script, flags, _ in BEFORE_PADDLE]
    return errors(rows, folder, "read", without_paddle)


@pytest.mark.parametrize("number", range(len(BEFORE_PADDLE)), ids=[" ".join(row[:2]) for row in BEFORE_PADDLE])
def test_known_before_paddle_is_loaded(said_before, number):
    said, (_, _, message) = said_before[number], BEFORE_PADDLE[number]
    assert said.startswith(f"InputError: {message}") and "\n" not in said


ROWS = {(script, flags): message for script, flags, message in BEFORE_PADDLE}


@pytest.mark.parametrize(
    "script, flags",
    [
        ("train", "--weights=w"), ("eval", "--save_dir=file"), ("predict", "--video_path=empty"),
        ("export", "--config=no.yaml"),
    ],
)  # fmt: skip
def test_known_before_paddle_is_loaded_in_a_process_of_its_own(place, without_paddle, script, flags):
    before = snapshot(place)
    ended = run_script(script, *quick_flags(script, flags), cwd=place, PYTHONPATH=without_paddle)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(f"error: {ROWS[script, flags]}") and ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr
    assert snapshot(place) == before


# script, flags, a pattern for the message; these need paddle
WITH_PADDLE = [
    ("train", "--model_name=SlowFast", r"unknown model 'SlowFast'.*TSN"),
    ("eval", "--model_name=SlowFast", r"unknown model 'SlowFast'.*TSN"),
    ("eval", "--weights=no.pdparams", r"no\.pdparams: no such weights"),
    ("train", "--pretrain=no.pdparams", r"no\.pdparams: no such weights"),
    ("train", "--pretrain=file", r"file: "),
    ("eval", "--weights=file", r"file: "),
    ("eval", "--weights=empty", r"empty: "),
    ("predict", "--weights=results", r"results/TSN.pdparams: not a pickle of weights: "),
    ("export", "--weights=file", r"file: "),
    ("eval", "--weights=hostile.pdparams", r"hostile\.pdparams: .*it calls 'posix\.system'"),
    ("train", "--pretrain=hostile.pdparams", r"hostile\.pdparams: .*it calls 'posix\.system'"),
    ("eval", "--set MODEL.num_layers=34", r"random\.pdparams: .*"),
    ("predict", "--set MODEL.num_layers=50", r"random\.pdparams: .*"),
    ("eval", "--set MODEL.num_classes=5 --set INFER.kinetics_labels=none", r"random\.pdparams: .*4.*num_classes.*5"),
    ("train", "--resume=no", r"no\.json: .*"),
    ("train", "--resume=results", r"--resume=results: no whole checkpoint in results"),
    # A folder that does not exist is not created.
    *((script, "--save_dir=new/deep --model_name=SlowFast", "unknown model 'SlowFast'") for script in SCRIPTS),
    ("predict", "--video_path=file", r"file: "),
    ("predict", "--video_path=audio_only.mp4", r"audio_only\.mp4: "),
    ("predict", "--video_path=truncated.mp4", r"truncated\.mp4: "),
    ("predict", "--video_path=broken.mp4", r"broken\.mp4: "),
]


class Hostile:
    def __reduce__(self):
        return os.system, ("touch HACKED",)


def add_videos(folder: Path, workspace) -> None:
    """Add videos that cannot be read, and weights that would do harm."""
    (folder / "hostile.pdparams").write_bytes(pickle.dumps({"conv1_weights": Hostile()}, 2))
    shutil.copy(ROOT / "tests" / "fixtures" / "audio_only.mp4", folder)
    whole = workspace.videos[0][0].read_bytes()
    middle = len(whole) // 2
    (folder / "truncated.mp4").write_bytes(whole[:middle])
    (folder / "broken.mp4").write_bytes(whole[:middle] + b"\0" * 3000 + whole[middle + 3000 :])


@pytest.fixture
def place_with_videos(place, workspace) -> Path:
    add_videos(place, workspace)
    return place


def flags_for(script: str, flags: str) -> list[str]:
    given = ["--config=tiny.yaml", "--save_dir=results"]
    if script != "train" and "--weights" not in flags:
        given.append("--weights=random.pdparams")
    if script == "train" and not flags.startswith(("--pretrain", "--resume")):
        given.append("--pretrain=none")
    return [*given, *flags.split(" ")]


@pytest.fixture(scope="module")
def said_with_paddle(workspace, tmp_path_factory) -> list[str]:
    """Provide the error for each row of WITH_PADDLE."""
    folder = tmp_path_factory.mktemp("with")
    fill(folder, workspace)
    add_videos(folder, workspace)
    return errors([(script, flags_for(script, flags)) for script, flags, _ in WITH_PADDLE], folder, "train")


@pytest.mark.parametrize("number", range(len(WITH_PADDLE)), ids=[" ".join(row[:2]) for row in WITH_PADDLE])
def test_known_once_paddle_is_loaded(said_with_paddle, number):
    said, (_, _, message) = said_with_paddle[number], WITH_PADDLE[number]
    assert re.match(f"InputError: {message}", said) and "\n" not in said


@pytest.mark.parametrize("script, flags, message", [WITH_PADDLE[9], WITH_PADDLE[14], WITH_PADDLE[-1]])
def test_the_same_in_a_process_of_its_own(place_with_videos, script, flags, message):
    before = snapshot(place_with_videos)
    ended = run_script(script, *flags_for(script, flags), cwd=place_with_videos)
    assert ended.returncode == 2, ended.stderr
    assert re.fullmatch(f"error: {message}.*\n", ended.stderr)
    assert snapshot(place_with_videos) == before


@pytest.mark.skipif(bool(gpus_to_use()), reason="there is a GPU")
def test_a_gpu_that_is_not_there(place):
    missing = r"--use_gpu=True: (this paddlepaddle is a CPU build: pip .*|no GPU is visible \(.*\))"
    rows = [(script, flags_for(script, "--use_gpu=True")) for script in SCRIPTS]
    assert all(re.fullmatch(f"InputError: {missing}", said) for said in errors(rows, place, "train"))
    ended = run_script(*rows[2][:1], *rows[2][1], cwd=place)
    assert ended.returncode == 2 and re.fullmatch(f"error: {missing}\n", ended.stderr)
