"""Lists from the official split files of UCF101, HMDB51 and Something-Something v2, in their published formats."""

import json

import pytest

from conftest import says
from data.lists.official import is_official, read_official
from list_making import lines, make_lists, succeed, touch
from utils.errors import InputError

UCF = {
    "classInd.txt": "1 HammerThrow\r\n2 Hammering\r\n3 HandstandPushups\r\n",
    "trainlist01.txt": "Hammering/v_Hammering_g08_c01.avi 2\r\nHandstandPushups/v_HandStandPushups_g08_c01.avi 3\r\n"
    "HammerThrow/v_HammerThrow_g08_c01.avi 1\r\nHammerThrow/v_HammerThrow_g08_c02.avi 1\r\n",
    "testlist01.txt": "Hammering/v_Hammering_g01_c01.avi\r\nHandstandPushups/v_HandStandPushups_g01_c01.avi\r\n",
}
HMDB = {
    "brush_hair_test_split1.txt": "April_09_brush_hair_u_goo_0.avi 1 \nAtheism_brush_hair_u_nm_np2_le_goo_1.avi 2 \n",
    "cartwheel_test_split1.txt": "(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi 2 \n"
    "unused_cartwheel_f_0.avi 0 \nAcrobacias_cartwheel_f_cm_np1_ba_bad_8.avi 1 \n",
}
LABELS = {"Holding something next to something": "1", "Approaching something with your camera": "0"}
SOMETHING = {
    "something-something-v2-labels.json": json.dumps(LABELS),
    "something-something-v2-train.json": json.dumps([
        {"id": "78687", "label": "holding potato next to a bottle", "placeholders": ["potato", "a bottle"],
         "template": "Holding [something] next to [something]"},
        {"id": "2", "label": "x", "template": "Approaching [something] with your camera", "placeholders": ["x"]},
    ]),
    "something-something-v2-validation.json": json.dumps(
        [{"id": "3", "label": "x", "template": "Approaching [something] with your camera", "placeholders": ["x"]}]
    ),
    "something-something-v2-test.json": json.dumps([{"id": "4"}, {"id": "5"}]),
}  # fmt: skip


def annotate(folder, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return ["--annotations", *files]


def test_ucf101(tmp_path):
    clips = ["Hammering/v_Hammering_g08_c01", "HandstandPushups/v_HandStandPushups_g08_c01"]
    clips += ["HammerThrow/v_HammerThrow_g08_c01", "Hammering/v_Hammering_g01_c01"]
    clips += ["HandstandPushups/v_HandStandPushups_g01_c01", "Other/v_Other_g01_c01"]
    touch(tmp_path / "UCF-101", *(f"{clip}.avi" for clip in clips))
    out = succeed(tmp_path, "--videos", "UCF-101", *annotate(tmp_path, UCF))
    assert lines(tmp_path, "train.list") == [
        f"UCF-101/{clip}.avi {label}" for clip, label in zip(clips[:3], (1, 2, 0))
    ]  # fmt: skip
    assert lines(tmp_path, "test.list") == [f"UCF-101/{clips[3]}.avi 1", f"UCF-101/{clips[4]}.avi 2"]
    assert json.loads((tmp_path / "lists/kinetics_labels.json").read_text()) == [
        "HammerThrow",
        "Hammering",
        "HandstandPushups",
    ]
    assert "3 classes, numbered as in classInd.txt" in out and not (tmp_path / "lists/val.list").exists()
    assert lines(tmp_path, "missing.csv")[1:] == ["HammerThrow,v_HammerThrow_g08_c02,,,train,no file"]
    assert lines(tmp_path, "remarks.csv")[1:] == ["UCF-101/Other/v_Other_g01_c01.avi,not in the annotations"]
    assert 'weights: "lists/checkpoints/TSM.pdparams"' in (tmp_path / "lists/config.yaml").read_text()


def test_ucf101_without_classind(tmp_path):
    touch(tmp_path / "v", "Hammering/v_Hammering_g01_c01.mp4", "HammerThrow/v_HammerThrow_g08_c01.mp4")
    succeed(tmp_path, "--videos", "v", *annotate(tmp_path, {k: UCF[k] for k in ("testlist01.txt", "trainlist01.txt")}))
    assert lines(tmp_path, "test.list") == ["v/Hammering/v_Hammering_g01_c01.mp4 1"]


def test_hmdb51(tmp_path):
    clips = [line.split(" ")[0] for text in HMDB.values() for line in text.splitlines()]
    touch(tmp_path / "hmdb", *clips)
    out = succeed(tmp_path, "--videos", "hmdb", *annotate(tmp_path, HMDB))
    assert lines(tmp_path, "train.list") == [f"hmdb/{clips[0]} 0", f"hmdb/{clips[4]} 1"]
    assert lines(tmp_path, "test.list") == [f"hmdb/{clips[1]} 0", f"hmdb/{clips[2]} 1"]
    assert "2 classes, numbered in alphabetical order" in out
    assert json.loads((tmp_path / "lists/kinetics_labels.json").read_text()) == ["brush_hair", "cartwheel"]


def test_something_something(tmp_path):
    touch(tmp_path / "ssv2", "78687.webm", "2.webm", "3.webm", "4.webm", "5.webm")
    out = succeed(tmp_path, "--videos", "ssv2", *annotate(tmp_path, SOMETHING))
    assert lines(tmp_path, "train.list") == ["ssv2/78687.webm 1", "ssv2/2.webm 0"]
    assert lines(tmp_path, "val.list") == lines(tmp_path, "test.list") == ["ssv2/3.webm 0"]
    assert lines(tmp_path, "infer.list") == ["ssv2/4.webm", "ssv2/5.webm"]
    names = json.loads((tmp_path / "lists/kinetics_labels.json").read_text())
    assert names == ["Approaching something with your camera", "Holding something next to something"]
    assert "test clips without a label, only in infer.list: 2" in out


MISTAKES = [
    ({**UCF, "testlist02.txt": "A/b.avi\n"}, ["--annotations: ", "trainlist01.txt and testlist02.txt", "different"]),
    ({**UCF, "train.csv": ""}, ["--annotations: ", "classInd.txt and train.csv", "different data sets"]),
    ({**UCF, "notes.txt": ""}, ["--annotations notes.txt: ", "trainlist01.txt, testlist01.txt"]),
    ({**UCF, "testlist01.txt": "\n\nno clip\n"}, ["testlist01.txt:3: ", "such as 'Archery/v_"]),
    ({"classInd.txt": "1 HammerThrow\n3 Hammering\n"}, ["classInd.txt:2: ", "'Hammering'", "expected "]),
    ({**UCF, "testlist01.txt": "Ski/v_Ski.avi\n"}, ["testlist01.txt:1: ", "classInd.txt", "no class 'Ski'"]),
    ({"a_test_split1.txt": "a.avi 3\n"}, ["a_test_split1.txt:1: ", "such as 'clip.avi 1'", "not 'a.avi 3'"]),
    ({"v2-labels.json": "[]"}, ["v2-labels.json: ", "expected an object", "Something-Something v2"]),
    ({"v2-labels.json": '{"a": "0", "b": "x"}'}, ["v2-labels.json: ", "'b'", "consecutive numbers"]),
    ({"v2-labels.json": '{"a": "%s"}' % ("9" * 5000)}, ["v2-labels.json: ", "'a'", "consecutive numbers"]),
    ({"v2-labels.json": "[" * 9999}, ["v2-labels.json: ", "not JSON"]),
    ({"v2-labels.json": '{"\\ud800": "0"}'}, ["v2-labels.json: ", "expected "]),
    ({"v2-train.json": '[{"id": "\\ud800", "template": ""}]'}, ["v2-train.json, clip 0: ", "id and template"]),
    ({"v2-labels.json": '{"a": "0", "A": "1"}'}, ["v2-labels.json: ", "'a' and 'A'", "the same letters"]),
    ({"v2-train.json": "{"}, ["v2-train.json: ", "not JSON"]),
    ({"v2-train.json": '[{"id": "1", "template": 5}]'}, ["v2-train.json, clip 0: ", "id and template"]),
    ({"v2-train.json": '["a"]'}, ["v2-train.json, clip 0: ", "id and template"]),
]  # fmt: skip


@pytest.mark.parametrize("files, pieces", MISTAKES)
def test_mistakes_are_named_by_file_and_line(tmp_path, files, pieces, monkeypatch):
    monkeypatch.chdir(tmp_path)
    annotate(tmp_path, files)
    with pytest.raises(InputError) as error:
        is_official(list(files)) and read_official(list(files))
    says(error.value, *pieces)


def test_no_file_has_an_expected_name(tmp_path):
    touch(tmp_path / "v", "a.avi")
    ended = make_lists(tmp_path, "--videos", "v", *annotate(tmp_path, UCF))
    assert ended.returncode == 2
    says(ended.stderr, "error: none of 6 annotated clips ", "such as v_Hammering_g08_c01.mp4", "found a.avi")
