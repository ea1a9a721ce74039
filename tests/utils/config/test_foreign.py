"""utils/config/foreign.py: a peer's file, given as it is, is called by its owner's name, with what converts it."""

import pytest

from models.registry import known_name
from reader.class_names import read_names
from tools.peers.peer_lists import read_peer_labels
from utils.config.foreign import config_advice, list_advice
from utils.config.loading import load_config
from utils.errors import InputError

PADDLEVIDEO = "a configuration of PaddleVideo: python tools/convert.py --from=paddlevideo"
MMACTION2 = "a configuration of mmaction2: python tools/convert.py --from=mmaction2"


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
    assert str(error.value) == f"{path}: {whose} {path} makes ours of it (docs/migration.md)"


@pytest.mark.parametrize(
    "text", ["MODEL:\n    name: TSN\n", "TRAIN:\n    pipeline: 3\n", "a = 1", "MODEL:\n  name: 'my framework: x'\n"]
)
def test_what_is_nobodys(text):
    assert config_advice("x.yaml", text) == ""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("k400.txt", "0 abseiling\n1 air drumming\n", "a label list as PaddleVideo has it: {} --from=paddlevideo {}"),
        ("k400.txt", "abseiling\nair drumming\n", "a label list as mmaction2 has it: {} --from=mmaction2 {}"),
    ],
)
def test_label_lists(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_names(str(path), "INFER.kinetics_labels")
    advice = message.format("python tools/convert.py", f"--labels={path}")
    assert str(error.value) == f"{path}: {advice} makes ours of it (docs/migration.md)"
    assert read_peer_labels(str(path)) == ["abseiling", "air drumming"]


@pytest.mark.parametrize(
    ("name", "text"), [("x.txt", "[3"), ("x.txt", ""), ("x.txt", "\x00\x01"), ("x.json", "abseiling")]
)
def test_label_lists_that_are_nobodys(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="the label list is not JSON: "):
        read_names(str(tmp_path / name), "INFER.kinetics_labels")


def test_lists_whose_videos_are_not_there():
    start = "; lists of PaddleVideo and mmaction2 name what lies below their data_prefix, here MODEL.data_prefix"
    assert list_advice("abseiling/x", "no such file") == f"{start} (docs/migration.md)"
    assert list_advice("abseiling/x 250", "no such file") == (
        f"{start}, and with three columns folders of frames, MODEL.format frames (docs/migration.md)"
    )
    assert list_advice("abseiling/x", "the file is empty") == ""


@pytest.mark.parametrize(("name", "ours"), [("ppTSM", "TSM"), ("ppTSN", "TSN")])
def test_names_of_networks(name, ours):
    with pytest.raises(InputError) as error:
        known_name(name)
    peer = f"PP-{ours}"
    assert str(error.value) == (
        f"unknown model {name!r}; PaddleVideo's {peer} is MODEL.name {ours} with MODEL.backbone resnet_vd "
        "(docs/migration.md)"
    )
