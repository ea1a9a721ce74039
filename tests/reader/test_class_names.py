"""The advice about classes that a mirror exchanges."""

import json

import pytest

from conftest import ROOT
from reader.build import mirrors_advised
from reader.class_names import mirror_advice
from utils.config.loading import load_config

ADVICE = [
    (["Turn_Left", "turn right", "wait"], "[[0, 1]]"),
    (["Pushing something from left to right", "a", "pushing something from right to left"], "[[0, 2]]"),
    (["rechts", "links"], "[[0, 1]]"),
    (["左转", "右转"], "[[0, 1]]"),
    (["left hand up", "wave", "right", "left"], "[[2, 3]]"),
    (["left hand up", "wave"], None),
    (["tightrope walking", "bright", "leftover", "flinks"], ""),
    (["from left to left"], None),
]


@pytest.mark.parametrize("names, pairs", ADVICE)
def test_classes_with_a_side_in_their_names_are_paired(names, pairs):
    found = mirror_advice(names)
    if pairs == "":
        assert found == []
        return
    [line] = found
    assert (f"TRAIN.flip_pairs={pairs} " if pairs else "TRAIN.flip=False ") in line
    assert ("TRAIN.flip_pairs" in line) == bool(pairs)


def test_kinetics_has_none():
    assert mirror_advice(json.loads((ROOT / "data/dataset/kinetics_labels.json").read_text())) == []


@pytest.mark.parametrize(
    "sets, said",
    [
        ([], True),
        (["TRAIN.flip=False"], False),
        (["TRAIN.flip_pairs=[[0, 1]]"], False),
    ],
)
def test_training_says_so_unless_it_was_thought_of(sets, said, tmp_path):
    (tmp_path / "names.json").write_text('["turn left", "turn right"]')
    flags = {"INFER.kinetics_labels": str(tmp_path / "names.json")}
    lines = mirrors_advised(load_config("", flags, ["MODEL.num_classes=2", *sets]))
    assert len(lines) == said
    for words in ("2 ('turn left', 'turn right')", "TRAIN.flip_pairs=[[0, 1]] ", "TRAIN.flip=False "):
        assert all(words in line for line in lines)
