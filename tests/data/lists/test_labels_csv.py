"""data/make_lists.py with a CSV file that names several classes per clip."""

import json

import pytest

from conftest import says
from list_making import lines, make_lists, succeed, touch
from utils.config.loading import load_config

CSV = """path,labels,split
a/1.mp4, jump;run ,train
b/1.mp4,run,training
v/b/2.mp4,swim; jump,val
b/3.mp4,swim,test
gone.mp4,run,train
"""


def test_a_clip_has_all_its_classes(tmp_path):
    touch(tmp_path, "v/a/1.mp4", "v/b/1.mp4", "v/b/2.mp4", "v/b/3.mp4", "v/other.mp4")
    (tmp_path / "labels.csv").write_text(CSV)
    out = succeed(tmp_path, "--videos", "v", "--annotations", "labels.csv")
    folder = tmp_path / "lists"
    assert json.loads((folder / "kinetics_labels.json").read_text()) == ["jump", "run", "swim"]
    assert lines(tmp_path, "train.list") == ["v/a/1.mp4 0,1", "v/b/1.mp4 1"]  # two files of one name
    assert lines(tmp_path, "val.list") == ["v/b/2.mp4 0,2"] and lines(tmp_path, "infer.list") == ["v/b/3.mp4"]
    assert (folder / "missing.csv").read_text().splitlines()[1:] == ["run,gone.mp4,,,train,no file"]
    assert "v/other.mp4,not in the annotations" in (folder / "remarks.csv").read_text()
    assert ["0", "jump", "1", "1", "0"] in [line.split() for line in out.splitlines()]
    config = load_config(str(folder / "config.yaml"))
    assert config.model.labels == "multi" and not config.train.balance_classes


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("path,labels\na.mp4,x\n", ("t.csv:2: ", "split ''", "train, val or test", "the file's name")),
        ("path,labels,split\n,x,train\n", ("t.csv:2: ", "path is empty", "such as clip.mp4,jump;run,train")),
        ("path,labels,split\na.mp4,;,train\n", ("t.csv:2: ", "labels is empty", "such as clip.mp4,jump;run,train")),
        ("path,labels,split\nz.mp4,x,train\n", ("none of 1 annotated clips ", "t.csv:2 has z.mp4", "found v/a.mp4")),
    ],
)
def test_mistakes_are_one_line(tmp_path, text, pieces):
    touch(tmp_path, "v/a.mp4")
    (tmp_path / "t.csv").write_text(text)
    ended = make_lists(tmp_path, "--videos", "v", "--annotations", "t.csv")
    assert ended.returncode == 2
    says(ended.stderr, "error: " + pieces[0], *pieces[1:])
    ended = make_lists(tmp_path, "--videos", "v", "--annotations", "t.csv", "--folds", "3")
    says(ended.stderr, "error: --folds 3: ", "leave it out", "one class per clip")
