"""The config.yaml that data/make_lists.py writes beside its lists: its contents, for every kind of data set."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from conftest import ROOT, says
from data.lists import own_config
from data.lists.classes import KINETICS_LABELS, Classes, read_classes
from data.lists.own_networks import IMAGENET, LIGHT, STRONG
from list_making import annotate, lines, make_lists, succeed, touch
from utils.config.loading import Config, load_config
from utils.config.published import find_published
from utils.errors import InputError

GB = 10**9
CLASSES = Classes(["a", "b", "c"], "", {"a": 0, "b": 1, "c": 2})
PUBLISHED = read_classes(str(KINETICS_LABELS))
ALL = {"train.list": 200, "val.list": 20, "test.list": 30, "infer.list": 40}
MANY = ALL | {"train.list": 2001}


@pytest.mark.parametrize(
    "clips, memory, size",
    [
        (0, None, 4),
        (3, 16 * GB, 4),
        (79, 16 * GB, 4),
        (80, 16 * GB, 8),
        (319, 32 * GB, 16),
        (320, 32 * GB, 32),
        (240_000, None, 32),
        (240_000, 400 * GB, 32),
        (240_000, 16 * GB, 16),  # 23 fit into the half of it
        (240_000, 4 * GB, 2),
        (200, 0, 2),
    ],
)
def test_batch_size(clips, memory, size):
    found, why = own_config.batch_size(clips, memory, 0.3e9)
    assert found == size and "\n" not in why
    wanted = own_config.batch_size(clips, None, 0.3e9)[0]
    assert (f"{(memory or 0) / 1e9:.1f} GB were free here" in why) == (size < wanted)


@pytest.mark.parametrize(
    "clips, batch, epochs, steps",
    [
        (0, 4, 100, 100),
        (11, 4, 100, 300),
        (40, 4, 40, 400),
        (100, 8, 31, 403),
        (1000, 32, 15, 480),
        (240_000, 32, 15, 112_500),
    ],
)
def test_epochs(clips, batch, epochs, steps):
    found, why = own_config.epochs(clips, batch)
    assert found == epochs and why.startswith(f"{steps} steps: ")


@pytest.mark.parametrize("frames, cores, time", [
    (0, 2, "1 min"), (3600, 2, "10 min"), (43_200, 2, "120 min"), (64_800, 2, "3 h"), (6480, 6, "6 min"),
    (5_184_000, 2, "10 days"),
])  # fmt: skip
def test_time_without_a_gpu(frames, cores, time):
    assert own_config.cpu_time(frames, cores, 3) == time


@pytest.mark.parametrize("clips, views", [(0, 10), (1, 10), (600, 10), (601, 9), (2000, 3), (9537, 1), (240_000, 1)])
def test_many_clips_have_fewer_views(clips, views):
    assert own_config.feature_views(clips) == views


def written(folder: Path, classes: Classes, clips: dict[str, int], light: bool = False) -> Config:
    """Return the configuration for lists in the folder `lists` of `folder`."""
    path = folder / "config.yaml"
    network = own_config.network_for(classes, light)
    path.write_text(own_config.config_text(Path("lists"), classes, clips, network))
    return load_config(path)


def test_a_whole_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(own_config, "available_memory", lambda: 8 * GB)
    monkeypatch.setattr(own_config, "available_cores", lambda: 2)
    config = written(tmp_path, CLASSES, ALL)
    assert (config.model.num_classes, config.model.name, config.infer.topk) == (3, "TSM", 3)
    train = config.train
    assert (train.filelist, train.save_dir) == ("lists/train.list", "lists/checkpoints")
    assert (train.batch_size, config.valid.batch_size) == (2, 2)  # 16 for 200 clips, but 3 fit into half of 8 GB
    assert (train.epoch, train.learning_rate, train.keep_checkpoints) == (15, 0.001, 2)
    assert (train.pretrain, train.freeze_stages, train.feature_views, config.model.dropout) == ("pptsm", 5, 10, 0.5)
    assert [config.valid.filelist, config.test.filelist, config.infer.filelist] == [
        f"lists/{name}.list" for name in ("val", "test", "infer")
    ]
    assert config.infer.kinetics_labels == "lists/kinetics_labels.json"
    assert config.test.weights == config.infer.weights == "lists/checkpoints/TSM_best.pdparams"
    text = (tmp_path / "config.yaml").read_text()
    assert "# this takes 2.6 GB of memory; 8.0 GB were free here\n    batch_size: 2\n" in text
    assert "# with freeze_stages 0 and no GPU, about 67 min on 2 cores, at 3 frames a second each\n" in text
    assert "Without a GPU they take about 13 min on 2 cores, once;\n" in text


@pytest.mark.parametrize(
    "classes, clips, light, network, frozen, dropout",
    [
        (CLASSES, ALL, False, STRONG, 5, 0.5),
        (CLASSES, ALL | {"train.list": 2000}, False, STRONG, 5, 0.5),
        (CLASSES, MANY, False, STRONG, 0, 0.8),
        (CLASSES, ALL, True, LIGHT, 5, 0.2),
        (CLASSES, MANY, True, LIGHT, 0, 0.2),
        (PUBLISHED, ALL, False, IMAGENET, 0, 0.4),
    ],
)
def test_own_classes_start_from_a_network_that_knows_actions(classes, clips, light, network, frozen, dropout, tmp_path):
    """The name and its keys agree, and each script can load the file."""
    config = written(tmp_path, classes, clips, light)
    for section in ("TRAIN", "TEST", "INFER"):
        assert load_config(tmp_path / "config.yaml", section=section) == config
    assert (config.train.pretrain, config.train.freeze_stages) == (network.pretrain, frozen)
    assert (config.model.name, config.model.seg_num) == (network.name, network.segments)
    assert config.model.dropout == dropout
    assert config.test.weights == f"lists/checkpoints/{network.name}_best.pdparams"
    if network.pretrain:
        name = find_published(network.pretrain)
        assert name.data == "Kinetics-400" and name.model["seg_num"] == network.segments
        assert {key: getattr(config.infer, key) for key in name.test} == name.test


def test_no_light_network_for_classes_that_weights_know():
    with pytest.raises(InputError) as error:
        own_config.network_for(PUBLISHED, True)
    says(error.value, "--light: ", "leave it out", "published weights", "predict.py --weights=pptsmv2")


def test_the_recipe_is_that_of_the_shipped_configuration(tmp_path):
    ours, shipped = written(tmp_path, CLASSES, MANY), load_config(ROOT / "configs" / "finetune.yaml")
    own = {"filelist", "batch_size", "epoch", "save_dir", "topk", "feature_views"}
    found, expected = ({k: v for k, v in asdict(config.train).items() if k not in own} for config in (ours, shipped))
    assert found == expected
    assert replace(ours.model, num_classes=101, topk=5) == shipped.model


def test_each_key_has_its_reason(tmp_path):
    written(tmp_path, CLASSES, ALL)
    above = ""
    for line in (tmp_path / "config.yaml").read_text().splitlines():
        if re.match(r"    \w+:", line):
            assert above.startswith("    # ") and len(above) > 7, line
        assert len(line) <= 120
        above = line


@pytest.mark.parametrize(
    "left, valid, test, infer, best",
    [
        (["train.list", "val.list", "test.list", "infer.list"], "val", "test", "infer", "TSM_best"),
        (["train.list", "test.list", "infer.list"], "", "test", "infer", "TSM"),
        (["train.list", "infer.list"], "", "train", "infer", "TSM"),
        (["train.list"], "", "train", "train", "TSM"),
        (["val.list", "test.list", "infer.list"], "val", "test", "infer", "TSM_best"),
        (["infer.list"], "", "test", "infer", "TSM"),
    ],
)
def test_other_lists_are_read_if_a_split_has_no_clip(tmp_path, left, valid, test, infer, best):
    config = written(tmp_path, CLASSES, dict.fromkeys(left, 5))
    lists = [section.filelist for section in (config.valid, config.test, config.infer)]
    assert lists == [f"lists/{name}.list" if name else "" for name in (valid, test, infer)]
    assert config.infer.weights == config.test.weights == f"lists/checkpoints/{best}.pdparams"


def test_published_classes_without_clips_for_training_take_the_published_weights(tmp_path):
    for clips, weights in ((ALL, "lists/checkpoints/TSN_best.pdparams"), ({"test.list": 3, "infer.list": 3}, "")):
        config = written(tmp_path, PUBLISHED, clips)
        assert config.model.num_classes == 400 and config.infer.topk == 5
        assert config.test.weights == config.infer.weights == weights


@pytest.mark.parametrize(
    "classes, clips, scripts",
    [
        (CLASSES, ALL, ["train", "eval", "predict"]),
        (CLASSES, {"train.list": 2}, ["train", "eval", "predict"]),
        (CLASSES, {"test.list": 2, "infer.list": 2}, ["eval", "predict"]),
        (CLASSES, {"infer.list": 2}, ["predict"]),
        (PUBLISHED, ALL, ["train", "eval", "predict", "eval"]),
        (PUBLISHED, {"test.list": 2, "infer.list": 2}, ["eval", "predict"]),
    ],
)
def test_the_next_commands(classes, clips, scripts, monkeypatch):
    monkeypatch.chdir(ROOT)
    commands = [
        shlex.split(command, comments=True) for command in own_config.commands(Path("my lists"), classes, clips)
    ]
    assert [command[1] for command in commands] == [f"{script}.py" for script in scripts]
    interpreters = {Path("python"), Path(sys.executable), Path(os.path.relpath(sys.executable))}
    assert all(
        Path(command[0]) in interpreters and command[2] == "--config=my lists/config.yaml" for command in commands
    )
    settings = {command[1]: command[3:] for command in commands}
    assert settings.pop("train.py", []) == []
    assert settings.pop("eval.py", []) == (["--set", "TEST.weights="] if len(scripts) > 3 else [])
    assert settings.pop("predict.py") == [] and not settings


@pytest.mark.parametrize(
    "out",
    ['it\'s "mine": #1', "-", "  blank  s ", "影", "{}", "&a *b", "back\\slash", "\u2028", os.fsdecode(b"caf\xe9")],
)
def test_any_folder_can_be_named(tmp_path, out, monkeypatch):
    touch(tmp_path / "v", "yes/a.mp4", "no/b.mp4")
    succeed(tmp_path, "--videos", "v", f"--out={tmp_path / out}")
    monkeypatch.chdir(tmp_path)
    config = load_config(tmp_path / out / "config.yaml")
    for path in (config.train.filelist, config.test.filelist, config.infer.kinetics_labels):
        assert Path(path).is_file()
    assert config.train.save_dir == str(tmp_path / out / "checkpoints")


def test_a_light_network_and_advice_about_sides(tmp_path):
    touch(tmp_path / "v", "turn_left/a.mp4", "turn_right/b.mp4")
    out = succeed(tmp_path, "--videos", "v", "--light")
    assert "\nclasses with a side in their names: 2 ('turn_left', 'turn_right'); training mirrors half of " in out
    assert "TRAIN.flip_pairs=[[0, 1]] exchanges the classes of mirrored clips, TRAIN.flip=False mirrors none\n" in out
    about = "PP-TSMv2's weights, which know Kinetics-400's actions,"
    assert out.endswith(f"\ntrain.py downloads {about} and starts from them; --pretrain=PATH names others\n")
    config = load_config(tmp_path / "lists" / "config.yaml", {}, ["TRAIN.flip_pairs=[[0, 1]]"], section="TRAIN")
    assert (config.model.name, config.train.flip_pairs) == ("PPTSMv2", ((0, 1),))


def test_kinetics_lists_have_one_too(tmp_path):
    annotate(tmp_path, "t.csv", "zumba,one,0,10,train", "yoga,two,0,10,val")
    touch(tmp_path / "v", "one.mp4", "two.mp4")
    out = succeed(tmp_path, "--videos", "v", "--annotations", "t.csv")
    config = load_config(tmp_path / "lists" / "config.yaml")
    assert (config.model.num_classes, config.valid.filelist) == (400, "lists/val.list")
    assert lines(tmp_path, "config.yaml")[2:6] == [f"#   {line.strip()}" for line in out.splitlines()[-5:-1]]


def test_an_edited_configuration_is_replaced_by_force_only(tmp_path):
    touch(tmp_path / "v", "yes/a.mp4", "no/b.mp4")
    touch(tmp_path / "lists", "config.yaml", content="MODEL: {num_classes: 7}\n")
    ended = make_lists(tmp_path, "--videos", "v")
    assert ended.returncode == 2
    says(ended.stderr, "error: --out lists: ", "config.yaml exists", "--force")
    assert lines(tmp_path, "config.yaml") == ["MODEL: {num_classes: 7}"]
    succeed(tmp_path, "--videos", "v", "--force")
    assert load_config(tmp_path / "lists" / "config.yaml").model.num_classes == 2


def test_lists_are_made_without_importing_paddle():
    code = "import sys, data.make_lists; assert not {'paddle', 'numpy', 'av'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
