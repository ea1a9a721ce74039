"""Compare the last line and the exit code of often mistyped commands with tests/golden/messages.txt.

This command writes the file again, so that a change of words is one diff:

    PADDLE_TSN_WRITE_MESSAGES=1 python -m pytest tests/test_messages.py
"""

import json
import os
import shlex

import pytest

from conftest import ROOT, run_python, says
from test_bad_input import add_videos, fill

GOLDEN = ROOT / "tests/golden/messages.txt"
CONFIG, WEIGHTS = "--config=tiny.yaml", "--weights=random.pdparams"
COMMANDS = [
    "train.py --config=no.yaml",
    "train.py --config=syntax.yaml",
    "train.py --config=key.yaml",
    "train.py --config=twice.yaml",
    "train.py --config=binary",
    f"train.py {CONFIG} --epoch=0",
    f"train.py {CONFIG} --set TRAIN.epohc=1",
    f"train.py {CONFIG} --weights=w",
    f"train.py {CONFIG} --model_name=SlowFast --pretrain=none",
    f"train.py {CONFIG} --save_dir=file --pretrain=none",
    f"train.py {CONFIG} --pretrain=no.pdparams",
    f"train.py {CONFIG} --pretrain=none --set TRAIN.freeze_stages=5",
    f"train.py {CONFIG} --resume=no",
    f"train.py {CONFIG} --resume=results",
    f"train.py {CONFIG} --set TRAIN.filelist=no.list",
    f"train.py {CONFIG} --set TRAIN.filelist=empty",
    f"train.py {CONFIG} --set TRAIN.filelist=malformed.list",
    f"train.py {CONFIG} --set TRAIN.filelist=range.list",
    f"eval.py {CONFIG} --weights=no.pdparams",
    f"eval.py {CONFIG} --weights=empty",
    f"eval.py {CONFIG} --weights=file",
    f"eval.py {CONFIG} --weights=hostile.pdparams",
    f"eval.py {CONFIG} {WEIGHTS} --set MODEL.num_layers=34",
    f"eval.py {CONFIG} {WEIGHTS} --set MODEL.num_classes=5 --set INFER.kinetics_labels=none",
    f"eval.py {CONFIG} {WEIGHTS} --set INFER.kinetics_labels=three.json",
    f"eval.py {CONFIG} {WEIGHTS} --precision=int8",
    f"eval.py {CONFIG} {WEIGHTS} test.list",
    "predict.py clip.mp4",
    f"predict.py {CONFIG} {WEIGHTS} --conf=0.5",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=no.mp4",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=results",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=no*.mp4",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=empty",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=audio_only.mp4",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=test.list",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=https://example.org/clip.mp4",
    f"predict.py {CONFIG} {WEIGHTS} --filelist=clip.mp4",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=clip.mp4 --stride=1",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=clip.mp4 --window=2 --features=True",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=clip.mp4 --infer_topk=5",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=clip.mp4 --ray=local",
    f"export.py {CONFIG} {WEIGHTS} --format=tflite",
    f"export.py {CONFIG} {WEIGHTS} --format=onnx --precision=int8",
    f"serve.py {CONFIG} {WEIGHTS} --host=0.0.0.0",
    f"live.py {CONFIG} {WEIGHTS} --source=no.mp4 --save_dir=live",
    "data/make_lists.py --videos no --out lists",
    "data/make_lists.py --videos empty_folder --out lists",
    "data/check.py no.list",
    "data/reencode.py no.list --out small",
    "tools/compare.py results no",
    "tools/combine.py results",
    "tools/convert.py --from paddlevideo no.yaml --out converted",
    f"predict.py {CONFIG} {WEIGHTS} --video_path=clip.mp4 --save_dir=predicted --report=False",
]
# Runs each command as utils.cli.run does, but all in one process, and prints (exit code, last line).
PROGRAM = f"""
import contextlib, importlib, io, json, sys
sys.path.insert(0, {str(ROOT)!r})
from utils.cli import exit_code

ends = []
for script, *flags in json.loads(sys.argv[1]):
    sys.argv = [script, *flags]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = exit_code(importlib.import_module(script.removesuffix(".py").replace("/", ".")).main)
    ends.append((code, said.getvalue().splitlines()[-1]))
print(json.dumps(ends))
"""


@pytest.fixture(scope="module")
def said(workspace, tmp_path_factory) -> str:
    """Provide each command with its last line and its exit code, in the form of the golden file."""
    folder = tmp_path_factory.mktemp("messages")
    fill(folder, workspace)
    add_videos(folder, workspace)
    (folder / "clip.mp4").write_bytes(workspace.videos[0][0].read_bytes())
    (folder / "empty_folder").mkdir()
    words = json.dumps([shlex.split(command) for command in COMMANDS])
    ended = run_python(["-c", PROGRAM, words], dict(os.environ), folder, timeout=240, kind="train")
    assert ended.returncode == 0, ended.stderr
    ends = json.loads(ended.stdout.splitlines()[-1])
    known = {str(workspace.folder): "WORKSPACE", str(folder): "FOLDER", str(ROOT): "TOOLKIT"}
    text = "\n".join(f"$ python {command}\n{line}\n[{code}]\n" for command, (code, line) in zip(COMMANDS, ends))
    for path, name in known.items():
        text = text.replace(path, name)
    return text


def test_the_messages_are_those_of_the_golden_file(said):
    if os.environ.get("PADDLE_TSN_WRITE_MESSAGES") == "1":
        GOLDEN.write_text(said, encoding="utf-8")
    expected = GOLDEN.read_text(encoding="utf-8").split("\n\n")
    assert said.split("\n\n") == expected


@pytest.mark.parametrize("pieces", [("a.yaml:2: ", "not 3"), ("b.yaml:2: ", "not 31"), ("b.yaml:2: ", "not 3", "up")])
def test_a_piece_that_is_missing_or_in_another_place_is_noticed(pieces):
    message = "b.yaml:2: expected a number from 4 up, not 3"
    says(message, "b.yaml:2: ", "4 up", "not 3")
    with pytest.raises(AssertionError):
        says(message, *pieces)
    for other in ("1", "\n  in a second line"):
        with pytest.raises(AssertionError):
            says(message + other, "b.yaml:2: ", "4 up", "not 3")


def test_a_message_is_one_line_that_fits_its_exit_code(said):
    for block in said.strip().split("\n\n"):
        command, line, code = block.splitlines()
        assert command.startswith("$ python ") and line.startswith("error: ") == (code in ("[1]", "[2]"))
