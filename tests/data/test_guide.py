"""The commands of data/README.md for one's own videos, word for word, in a copy of the repository.

So that they take seconds, the scripts get flags for small frames, train.py runs one epoch, ResNets have an eighth of
their channels (narrow.py), and random weights are where those of PP-TSM would have been downloaded to. Two tests have
fewer layers.
"""

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from conftest import ROOT, make_clip, reader_environment, run_python, synthetic_frames
from documentation import commands, is_printed, printed_blocks, read_page
from utils.storage.files import CACHE_VARIABLE
from weight_formats import random_state, renamed, write_pickle

SECTIONS = {text.partition("\n")[0]: text for text in read_page("data/README.md").split("\n## ")}
COMMANDS = commands(SECTIONS["Your own videos"])
LISTS, TRAIN, PREDICT, EVALUATE, FINE_TUNE = COMMANDS[:5]
UCF, TRAIN_UCF, EVALUATE_UCF, HMDB, SOMETHING = commands(SECTIONS["UCF101, HMDB51, Something-Something v2"])
[CHECK] = commands(SECTIONS["Are all videos good?"])
[((REENCODE,), REENCODED)] = printed_blocks(SECTIONS["Re-encoding for fast reading"])


def frames(*sections: str) -> list[str]:
    """Return the flags for small frames."""
    keys = [f"{name}.{key}" for name in sections for key in ("short_size=36", "target_size=32")]
    return [word for key in keys for word in ("--set", key)]


QUICK = ["--epoch=1", *frames("TRAIN", "VALID"), "--set", "TRAIN.engine=onednn"]
ADDED = {
    **dict.fromkeys((TRAIN, FINE_TUNE, TRAIN_UCF), QUICK),
    **dict.fromkeys((EVALUATE, EVALUATE_UCF), frames("TEST")),
    PREDICT: frames("INFER"),
}
SMALL = ["--set", "MODEL.num_layers=18"]
NAMES = ["Cat jumping", "cooking", "drawing", "juggling", "knitting", "waving"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Provide a home folder as it is after the download of PP-TSM's weights."""
    home = tmp_path_factory.mktemp("home")
    write_pptsm(home / ".paddle" / "weights" / "ppTSM_k400_uniform_distill.pdparams", 50)
    return home


def write_pptsm(path: Path, num_layers: int) -> None:
    """Write random weights of a narrow PP-TSM for Kinetics-400, with PaddleVideo's names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = random_state(num_layers, 400, vd=True, narrow=True)
    write_pickle(path, renamed(state, "paddlevideo_vd", num_layers, "backbone.", vd=True))


def copy_with_videos(folder: Path, names: list[str], recordings: list[str]) -> None:
    """Copy the repository, with a clip of each recording in each class folder, and some that are split."""
    ignored = shutil.ignore_patterns(".*", "tests", "benchmarks", "__pycache__", "demo", "*_results", "checkpoints")
    shutil.copytree(ROOT, folder, ignore=ignored)
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests/narrow.py", folder / "tests")
    for label, name in enumerate(names):
        for number, recording in enumerate(recordings):
            clip = folder / "videos" / "mine" / name / f"{recording}_{number}.mp4"
            clip.parent.mkdir(parents=True, exist_ok=True)
            make_clip(clip, synthetic_frames(label % 4, 10 * label + number))
        for split in ("train", "val", "test"):
            shutil.copytree(folder / "videos" / "mine" / name, folder / "videos" / "mine_split" / split / name)


def call(command: str, folder: Path, home: Path, *more: str) -> str:
    """Return what the command prints, after checking that it has succeeded."""
    python, script, *arguments = shlex.split(command)
    assert python == "python"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # our Python is `python`
    environment = reader_environment(HOME=str(home), PATH=path, **{CACHE_VARIABLE: ""})
    if script in ("train.py", "eval.py", "predict.py"):
        environment["TSN_TEST_SCRIPT"], script = Path(script).stem, "tests/narrow.py"
    ended = run_python([script, *arguments, *ADDED.get(command, ()), *more], environment, folder, 300)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "Traceback" not in ended.stderr and "error" not in ended.stderr
    return ended.stdout


def has_top5(folder: Path, train: str, evaluate: str) -> set[bool]:
    """Return for the outputs, the log of the training and metrics.json whether top-5 is in them."""
    files = "data/dataset/mine/checkpoints/train_log.jsonl", "data/evaluate_results/metrics.json"
    return {"top5" in text.lower() for text in (train, evaluate, *((folder / file).read_text() for file in files))}


def test_the_guide_leads_to_predictions(home, tmp_path):
    folder, out = tmp_path / "copy", {}
    copy_with_videos(folder, NAMES, ["garden", "kitchen", "street"])
    for command in COMMANDS:
        if command != FINE_TUNE:
            alike = "make_lists.py" in command  # the clips of two classes look alike
            out[command] = call(command, folder, home, *["--similar=0"] * alike)
    lists, train, evaluate, predict = (out[command] for command in (LISTS, TRAIN, EVALUATE, PREDICT))
    assert "\n".join(["next:", *(f"  {script}" for script in (TRAIN, EVALUATE, PREDICT))]) in lists

    file = f"{home}/.paddle/weights/ppTSM_k400_uniform_distill.pdparams"
    assert f"{file}: 275 parameters loaded (PaddleVideo names); left out: head.fc.bias, head.fc.weight" in train
    checkpoints = "data/dataset/mine/checkpoints"
    assert "features of 6 training videos, 10 views each: computed once" in train
    *_, saved, judged, small, learned, page, first, second = re.sub(
        "\non these .* videos it is no better .*", "", train
    ).splitlines()
    assert page == f"page: {checkpoints}/report.html" and "eval.py --weights=" in first and "predict.py" in second
    assert saved.startswith(f"saved {checkpoints}/TSM.pdparams; best top1_acc ")
    assert learned.startswith("training top1_acc of the last epoch ")
    assert " of 6 validation videos: " in judged and small.startswith("6 validation videos are too few")
    metrics = json.loads((folder / "data/evaluate_results/metrics.json").read_text())
    assert metrics["videos"] == 6 and f"weights {checkpoints}/TSM_best.pdparams" in metrics["protocol"]
    assert re.search(r"TOP1_ACC: \d+\.\d\d, .*videos: 6, unreadable: 0", evaluate.splitlines()[-1])
    assert has_top5(folder, train, evaluate) == {True}

    assert "predicted 6 of 6 videos, 0 unreadable" in predict.splitlines()[-1]
    for result in json.loads((folder / "data/predict_results/predictions.json").read_text()):
        best = result["predictions"]
        assert len({p["class_id"] for p in best}) == 5
        assert all(p["label"] == NAMES[p["class_id"]].replace(" ", "_") for p in best)

    recordings = []
    for split in ("train", "val", "test"):
        text = (folder / f"data/dataset/mine_by_recording/{split}.list").read_text()
        recordings.append(set(re.findall(r"/(\w+)_\d\.mp4 \d+$", text, re.MULTILINE)))
        assert len(text.splitlines()) == 6
    assert sorted(map(sorted, recordings)) == [["garden"], ["kitchen"], ["street"]]


def test_lists_are_checked_and_re_encoded(home, tmp_path):
    folder = tmp_path / "copy"
    copy_with_videos(folder, NAMES[:2], ["garden", "kitchen", "street"])
    call(LISTS, folder, home)
    assert call(CHECK, folder, home).endswith("\nfound no problem in these 4 videos\n")
    assert is_printed(REENCODED, call(REENCODE, folder, home))
    fast = (folder / "data/mine_fast/train.list").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in fast] == ["0", "1"]


def test_one_clip_of_each_class_is_enough_to_run(home, tmp_path):
    """No clip is left for validation or test, so the configuration reads training clips instead."""
    folder = tmp_path / "copy"
    copy_with_videos(folder, NAMES[:2], ["garden"])
    call(LISTS, folder, home)
    train = call(FINE_TUNE, folder, home, "--pretrain=none", *SMALL)
    assert "[VALID" not in train and not (folder / "data/dataset/mine/checkpoints/TSM_best.pdparams").exists()
    evaluate, predict = (call(script, folder, home, *SMALL) for script in (EVALUATE, PREDICT))
    assert "data: 2 videos of data/dataset/mine/train.list" in evaluate
    assert "weights: data/dataset/mine/checkpoints/TSM.pdparams" in evaluate
    assert has_top5(folder, train, evaluate) == {False}
    assert "predicted 2 of 2 videos" in predict
    for result in json.loads((folder / "data/predict_results/predictions.json").read_text()):
        assert {p["label"]: p["class_id"] for p in result["predictions"]} == {"Cat_jumping": 0, "cooking": 1}
        assert sum(p["probability"] for p in result["predictions"]) == pytest.approx(1, abs=1e-4)


def test_ucf101_in_three_commands(home, tmp_path):
    """Also make the lists of HMDB51 and Something-Something. The split files have the format of the official ones."""
    folder = tmp_path / "copy"
    copy_with_videos(folder, NAMES[:1], ["garden"])
    clip = (folder / "videos/mine" / NAMES[0] / "garden_0.mp4").read_bytes()
    something = "something/something-something-v2-"
    files = {
        "ucfTrainTestlist/classInd.txt": "1 Archery\n2 Biking\n",
        "ucfTrainTestlist/trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\nBiking/v_Biking_g08_c01.avi 2\n",
        "ucfTrainTestlist/testlist01.txt": "Archery/v_Archery_g01_c01.avi\n",
        "hmdb51/wave_test_split1.txt": "a_wave_u_0.avi 1 \nb_wave_u_0.avi 2 \n",
        f"{something}labels.json": '{"Moving something": "0"}',
        f"{something}train.json": '[{"id": "1", "template": "Moving [something]"}]',
        f"{something}validation.json": '[{"id": "2", "template": "Moving [something]"}]',
        f"{something}test.json": '[{"id": "3"}]',
    }
    for name in ("UCF-101/Archery/v_Archery_g08_c01.avi", "UCF-101/Archery/v_Archery_g01_c01.avi",
                 "UCF-101/Biking/v_Biking_g08_c01.avi", "hmdb51/wave/a_wave_u_0.avi", "hmdb51/wave/b_wave_u_0.avi",
                 *(f"20bn-something-something-v2/{number}.webm" for number in (1, 2, 3))):  # fmt: skip
        path = folder / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    assert "2 classes, numbered as in ucfTrainTestlist/classInd.txt" in call(UCF, folder, home)
    write_pptsm(tmp_path / "18.pdparams", 18)
    train = call(TRAIN_UCF, folder, home, *SMALL, f"--pretrain={tmp_path / '18.pdparams'}")
    assert "features of 2 training videos, 10 views each: computed once" in train
    assert "videos: 1, unreadable: 0" in call(EVALUATE_UCF, folder, home, *SMALL)
    call(HMDB.replace("hmdb51/*", "hmdb51/wave"), folder, home)  # as a shell does
    call(SOMETHING, folder, home)
    lists = [(folder / "data/dataset" / name / "test.list").read_text() for name in ("hmdb51", "ssv2")]
    assert lists == ["videos/hmdb51/wave/b_wave_u_0.avi 0\n", "videos/20bn-something-something-v2/2.webm 0\n"]
