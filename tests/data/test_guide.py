"""What data/README.md says of one's own videos: its commands, word for word, in a copy of the repository.

Only this differs from what a user does: train.py gets one epoch and small frames behind, to be done in seconds, and as
there is no network, random weights lie where the ImageNet weights would have been downloaded to. What is there to be
seen of other numbers of classes is seen with a smaller network.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, make_clip, synthetic_frames
from documentation import commands, is_printed, printed_blocks, read_page
from weight_formats import random_state, write_folder

SECTIONS = {text.partition("\n")[0]: text for text in read_page("data/README.md").split("\n## ")}
COMMANDS = commands(SECTIONS["Your own videos"])
LISTS, TRAIN, PREDICT, EVALUATE, FINE_TUNE = COMMANDS[:5]
[CHECK] = commands(SECTIONS["Are all videos good?"])
[((REENCODE,), REENCODED)] = printed_blocks(SECTIONS["Re-encoding for fast reading"])
QUICK = ["--epoch=1"]
for size in ("TRAIN.short_size=36", "TRAIN.target_size=32", "VALID.short_size=36", "VALID.target_size=32"):
    QUICK += ["--set", size]
SMALL = ["--set", "MODEL.num_layers=18"]
NAMES = ["Cat jumping", "cooking", "drawing", "juggling", "knitting", "waving"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home folder as it is after the download of the ImageNet weights."""
    home, state = tmp_path_factory.mktemp("home"), random_state(50, num_classes=1000)
    state["fc_weights"], state["fc_offset"] = state.pop("fc_0.w_0"), state.pop("fc_0.b_0")
    write_folder(home / ".paddle" / "weights" / "ResNet50_pretrained", state)
    return home


def copy_with_videos(folder: Path, names: list[str], recordings: list[str]) -> None:
    """A copy of the repository with a clip of each recording in each class's folder, and some that are split."""
    ignored = shutil.ignore_patterns(".*", "tests", "benchmarks", "__pycache__", "demo", "*_results", "checkpoints")
    shutil.copytree(ROOT, folder, ignore=ignored)
    for label, name in enumerate(names):
        for number, recording in enumerate(recordings):
            clip = folder / "videos" / "mine" / name / f"{recording}_{number}.mp4"
            clip.parent.mkdir(parents=True, exist_ok=True)
            make_clip(clip, synthetic_frames(label % 4, 10 * label + number))
        for split in ("train", "val", "test"):
            shutil.copytree(folder / "videos" / "mine" / name, folder / "videos" / "mine_split" / split / name)


def call(command: str, folder: Path, home: Path, *more: str) -> str:
    """What the command prints, after it has ended well."""
    python, *arguments = shlex.split(command)
    assert python == "python"
    ended = subprocess.run(
        [sys.executable, *arguments, *more],
        cwd=folder,
        env={"HOME": str(home), "KMP_BLOCKTIME": os.environ["KMP_BLOCKTIME"]},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "Traceback" not in ended.stderr and "error" not in ended.stderr
    return ended.stdout


@pytest.mark.parametrize("number", [2, 6])
def test_the_guide_leads_to_predictions(number, home, tmp_path):
    folder, names = tmp_path / "copy", NAMES[:number]
    copy_with_videos(folder, names, ["garden", "kitchen", "street"])
    whole, out = number == 6, {}
    for command in COMMANDS:
        if command != FINE_TUNE:
            more = [] if whole or command not in (TRAIN, EVALUATE, PREDICT) else SMALL
            if command == TRAIN:
                more = [*QUICK, *more] if whole else [*QUICK, *more, "--pretrain=none"]
            out[command] = call(command, folder, home, *more)
    lists, train, evaluate, predict = (out[command] for command in (LISTS, TRAIN, EVALUATE, PREDICT))
    assert "\n".join(["next:", *(f"  {script}" for script in (TRAIN, EVALUATE, PREDICT))]) in lists

    assert (f"{home}/.paddle/weights/ResNet50_pretrained: 265 parameters loaded" in train) == whole
    checkpoints = "data/dataset/mine/checkpoints"
    assert f"features of {number} training videos, 10 views each: computed once" in train
    assert f"saved {checkpoints}/TSN.pdparams; best top1_acc " in train.splitlines()[-1]
    metrics = json.loads((folder / "data/evaluate_results/metrics.json").read_text())
    assert metrics["videos"] == number and f"weights {checkpoints}/TSN_best.pdparams" in metrics["protocol"]
    assert re.search(rf"TOP1_ACC: \d+\.\d\d, .*videos: {number}, unreadable: 0", evaluate.splitlines()[-1])
    logged = (folder / checkpoints / "train_log.jsonl").read_text()
    for text in (train, logged, evaluate, json.dumps(metrics)):
        assert ("top5" in text.lower()) == (number > 5)

    assert f"predicted {number} of {number} videos, 0 unreadable" in predict.splitlines()[-1]
    for result in json.loads((folder / "data/predict_results/predictions.json").read_text()):
        best = result["predictions"]
        assert len({p["class_id"] for p in best}) == min(5, number)
        assert all(p["label"] == names[p["class_id"]].replace(" ", "_") for p in best)
        if number <= 5:
            assert sum(p["probability"] for p in best) == pytest.approx(1, abs=1e-4)

    recordings = []
    for split in ("train", "val", "test"):
        text = (folder / f"data/dataset/mine_by_recording/{split}.list").read_text()
        recordings.append(set(re.findall(r"/(\w+)_\d\.mp4 \d+$", text, re.MULTILINE)))
        assert len(text.splitlines()) == number
    assert sorted(map(sorted, recordings)) == [["garden"], ["kitchen"], ["street"]]

    if not whole:
        assert call(CHECK, folder, home).endswith(f"\nnothing is wrong with these {2 * number} videos\n")
        assert is_printed(REENCODED, call(REENCODE, folder, home))
        fast = (folder / "data/mine_fast/train.list").read_text().splitlines()
        assert [line.rpartition(" ")[2] for line in fast] == [str(label) for label in range(number)]


def test_one_clip_of_each_class_is_enough_to_run(home, tmp_path):
    """Nothing is left to validate or to test with: the configuration says what is read instead. All is trained."""
    folder = tmp_path / "copy"
    copy_with_videos(folder, NAMES[:2], ["garden"])
    call(LISTS, folder, home)
    train = call(FINE_TUNE, folder, home, *QUICK, "--pretrain=none", *SMALL)
    assert "[VALID" not in train and not (folder / "data/dataset/mine/checkpoints/TSN_best.pdparams").exists()
    evaluate, predict = (call(script, folder, home, *SMALL) for script in (EVALUATE, PREDICT))
    assert "evaluating 2 videos of data/dataset/mine/train.list" in evaluate
    assert "weights data/dataset/mine/checkpoints/TSN.pdparams" in evaluate.splitlines()[-1]
    assert "predicted 2 of 2 videos" in predict
