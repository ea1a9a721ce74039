"""utils/config/foreign.py: an error about a peer's file names the peer and the command that converts the file."""

import pytest

from conftest import says
from models.registry import known_name
from reader.class_names import read_names
from tools.peers.peer_lists import read_peer_labels
from utils.config.foreign import config_advice, list_advice
from utils.config.loading import load_config
from utils.errors import InputError

PADDLEVIDEO = "a configuration of PaddleVideo; convert it: python tools/convert.py --from=paddlevideo"
MMACTION2 = "a configuration of mmaction2; convert it: python tools/convert.py --from=mmaction2"


@pytest.mark.parametrize(
    ("name", "text", "whose"),
    [
        ("x.yaml", 'MODEL: #MODEL field\n    framework: "Recognizer2D"\n', PADDLEVIDEO),
        ("x.yaml", "DATASET: #DATASET field\n    batch_size: 16\n", PADDLEVIDEO),
        ("x.yml", "PIPELINE:\n  train:\n    a: *b\n", PADDLEVIDEO),
        ("x.py", "_base_ = ['../../_base_/models/tsn_r50.py']\n", MMACTION2),
        ("x.py", "# model settings\nmodel = dict(\n    type='Recognizer2D')\n", MMACTION2),
        ("x.py", "train_pipeline = [\n    dict(type='DecordInit'),\n]\n", MMACTION2),
    ],
)
def test_configurations(name, text, whose, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        load_config(tmp_path / name)
    path = tmp_path / name
    says(error.value, f"{path}: ", whose, f" {path}", "docs/migration.md")


@pytest.mark.parametrize(
    "text", ["MODEL:\n    name: TSN\n", "TRAIN:\n    pipeline: 3\n", "a = 1", "MODEL:\n  name: 'my framework: x'\n"]
)
def test_configurations_of_no_other_project(text):
    assert config_advice("x.yaml", text) == ""


@pytest.mark.parametrize(
    ("text", "whose"),
    [("0 abseiling\n1 air drumming\n", "PaddleVideo"), ("abseiling\nair drumming\n", "mmaction2")],
)
def test_label_lists(text, whose, tmp_path):
    path = tmp_path / "k400.txt"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_names(str(path), "INFER.kinetics_labels")
    command = f"python tools/convert.py --from={whose.lower()} --labels={path} "
    says(error.value, f"{path}: ", f"label list of {whose}", command, "docs/migration.md")
    assert read_peer_labels(str(path)) == ["abseiling", "air drumming"]


@pytest.mark.parametrize(
    ("name", "text"), [("x.txt", "[3"), ("x.txt", ""), ("x.txt", "\x00\x01"), ("x.json", "abseiling")]
)
def test_label_lists_of_no_other_project(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_names(str(tmp_path / name), "INFER.kinetics_labels")
    says(error.value, f"{tmp_path / name}: ", "not JSON")


def test_lists_whose_videos_are_missing():
    assert "MODEL.data_prefix to its data_prefix (docs/migration.md)" in list_advice("abseiling/x", "no such file")
    assert "MODEL.format=frames (docs/migration.md)" in list_advice("abseiling/x 250", "no such file")
    assert list_advice("abseiling/x", "the file is empty") == ""


@pytest.mark.parametrize(("name", "ours"), [("ppTSM", "TSM"), ("ppTSN", "TSN")])
def test_names_of_networks(name, ours):
    with pytest.raises(InputError) as error:
        known_name(name)
    ours_is = f"MODEL.name {ours} ", "MODEL.backbone resnet_vd"
    says(error.value, f"unknown model {name!r}; ", f"PP-{ours}", *ours_is, "docs/migration.md")
