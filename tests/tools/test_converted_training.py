"""Converted configurations and lists of both projects train: an epoch of one step of a narrow network."""

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

from conftest import picture, run_narrow
from mmaction2_configs import write
from paddlevideo_configs import PADDLEVIDEO, as_yaml
from tools.convert import convert
from utils.config.loading import SectionConfig, load_config

SMALL = ("short_size=36", "target_size=32", "batch_size=2", "num_reader_threads=1")


def given(name: str, as_json: bool = False) -> tuple[str, str]:
    """Return (the file of a configuration in this folder, its project). as_json: whether its lists are JSON."""
    if name in PADDLEVIDEO:
        Path("theirs.yaml").write_text(as_yaml(PADDLEVIDEO[name].tree()))
        return "theirs.yaml", "paddlevideo"
    config = write(Path(), name)
    if as_json:
        config.write_text(config.read_text().replace(".txt'", ".json'"))
    return str(config), "mmaction2"


def make_clips(section: SectionConfig, multi: bool, suffix: str, videos: list[Path]) -> None:
    """Make two clips and their list in the places that a converted configuration names."""
    source, clips = Path(section.filelist), []
    for i, video in enumerate(videos):
        clip: dict = {"label": [i, i + 1] if multi else [i]}
        path = Path(section.data_prefix, f"{source.stem}_{i}")
        if section.format == "frames":
            path.mkdir(parents=True)
            for number in range(1, 10):
                Image.fromarray(picture(48, 36, number)).save(path / section.filename_tmpl.format(number))
            clips.append({"frame_dir": path.name, "total_frames": 9, **clip})
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f"{path.name}{suffix or '.mp4'}").write_bytes(video.read_bytes())
            clips.append({"filename": path.name if suffix else f"{path.name}.mp4", **clip})
    source.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".json":
        source.write_text(json.dumps(clips))
    else:
        lines = ([*list(clip.values())[:-1], *clip["label"]] for clip in clips)
        source.write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))


def train(name: str, videos: list[Path], as_json: bool = False) -> tuple[str, list[dict]]:
    """Return the converted list and train_log.jsonl. Only sizes, engine, weights and intervals are not as converted."""
    config, peer = given(name, as_json)
    Path("plan").mkdir()
    notes = convert(config, peer, Path("plan"), None, 1)
    [suffix] = {note.rsplit(" ", 1)[1] for note in notes if "must end with" in note} or {""}
    ours = load_config("plan/config.yaml")
    for section in (ours.train, ours.valid):
        make_clips(section, ours.model.labels == "multi", suffix, videos)
    Path("out").mkdir()
    command = shlex.split(convert(config, peer, Path("out"), None, 1)[-1])
    assert command[:2] == ["python", "train.py"]
    sets = [f"--set={section}.{one}" for section in ("TRAIN", "VALID") for one in SMALL]
    sets += ["--set=MODEL.num_layers=18", "--set=TRAIN.engine=eager"]
    how = ["--pretrain=none", "--epoch=1", "--save_dir=run", "--report=False", "--valid_interval=1", *sets]
    ended = run_narrow("train", *command[2:], *how, cwd=Path.cwd())
    assert ended.returncode == 0, ended.stderr
    log = Path("run/train_log.jsonl").read_text().splitlines()
    return Path("out/train.list").read_text(), [json.loads(line) for line in log]


# A configuration of each kind, whether its lists are JSON, and a line of the list that is made of it.
KINDS = [
    ("tsm_ucf101_videos, 71329cff", False, "ucf101_train_split_1_videos_{}.avi {}\n"),
    ("pptsm_lcnet_k400_8frames_uniform, ce179097", False, "data/k400/rawframes/train_{} 9 {}\n"),
    ("tsn_tiny_two_classes", False, "data/kinetics400_tiny/train/kinetics_tiny_train_video_{}.mp4 {}\n"),
    (
        "tsn_r101_1x1x5_50e_mmit_rgb",
        True,
        "data/mmit/rawframes/training/mmit_train_list_rawframes_{} 9 {},{}\n",
    ),
]


@pytest.mark.parametrize(("name", "as_json", "line"), KINDS, ids=[kind[0] for kind in KINDS])
def test_converted_configurations_train(name, as_json, line, workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made, log = train(name, [path for path, _ in workspace.videos[:2]], as_json)
    assert made == line.format(0, 0, 1) + line.format(1, 1, 2)
    assert [row["mode"] for row in log] == ["train", "epoch", "valid"] and 0 < log[0]["loss"] < 10
    assert log[2]["videos"] == 2 and ("mAP" in log[2]) == as_json
