"""data/make_lists.py through a real process: what it lists, what it reports, and how it refuses."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.classes import KINETICS_LABELS, loose, read_classes
from data.make_lists import split_counts
from reader.filelist import read_list
from utils.config import load_config

ROOT = Path(__file__).parents[2]
HEADING = "label,youtube_id,time_start,time_end,split"


def touch(folder: Path, *names: str, content: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def make_lists(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    script = [sys.executable, str(ROOT / "data" / "make_lists.py"), "--out", "lists", *arguments]
    return subprocess.run(script, cwd=folder, capture_output=True, text=True, timeout=60)


def annotate(folder: Path, name: str, *lines: str, heading: str = HEADING) -> None:
    (folder / name).write_text("\n".join([heading, *lines]) + "\n")


def lines(folder: Path, name: str) -> list[str]:
    return (folder / "lists" / name).read_text().splitlines()


def succeed(folder: Path, *arguments: str) -> str:
    result = make_lists(folder, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_400_names_are_there_and_distinct_in_every_spelling():
    names = json.loads(KINETICS_LABELS.read_text())
    assert len(names) == len({loose(name) for name in names}) == 400
    assert [names[i] for i in (0, 1, 208, 399)] == [
        "abseiling", "air_drumming", "passing_American_football_(in_game)", "zumba",
    ]  # fmt: skip
    assert not any(" " in name for name in names)


@pytest.mark.parametrize(
    "spelling",
    ["massaging_person's_head", "massaging person's head", "Massaging_Persons_Head", "massaging person\u2019s head"],
)
def test_a_class_is_found_in_every_spelling(spelling):
    assert read_classes(str(KINETICS_LABELS)).find(spelling) == 196


@pytest.mark.parametrize(
    "file",
    [
        "_a-1_22_333_000007_000017.mp4",
        "_a-1_22_333_7_17.MKV",
        "_a-1_22_333.webm",
        "train/air_drumming/_a-1_22_333_000007_000017.avi",
        "air drumming/_a-1_22_333.mp4",
        "deep/er/Air_Drumming/_a-1_22_333_000007_000017.mp4",
    ],
)
def test_a_clip_is_found_in_every_naming(tmp_path, file):
    annotate(tmp_path, "train.csv", '"air drumming",_a-1_22_333,7,17,train')
    touch(tmp_path / "v d", file)
    succeed(tmp_path, "--videos", "v d", "--annotations", "train.csv")
    assert lines(tmp_path, "train.list") == [f"v d/{file} 1"]
    [entry] = read_list(str(tmp_path / "lists" / "train.list"), num_classes=400)
    assert (entry.path, entry.label) == (f"v d/{file}", 1)


@pytest.mark.parametrize(
    "name, heading, line",
    [
        ("a.csv", HEADING + ",is_cc", "abseiling,id_of_video,1,11,validate,0"),
        ("a.csv", HEADING, "abseiling,id_of_video,1.0,11.0,validation"),
        ("k400_val.csv", "label,youtube_id,time_start,time_end", "abseiling,id_of_video,1,11"),
        ("a.csv", '\ufeff"split","label","youtube_id","time_start","time_end"', '"val","abseiling","id_of_video","1","11"'),
        ("validate.csv", "youtube_id,time_start,time_end", "id_of_video,1,11"),
    ],
)
def test_every_form_of_annotations_is_read(tmp_path, name, heading, line):
    annotate(tmp_path, name, line, heading=heading)
    touch(tmp_path / "v", "abseiling/id_of_video_000001_000011.mp4")
    succeed(tmp_path, "--videos", "v", "--annotations", name)
    assert lines(tmp_path, "val.list") == ["v/abseiling/id_of_video_000001_000011.mp4 0"]


def test_remarks_name_what_is_passed_over(tmp_path):
    annotate(
        tmp_path, "t.csv", "zumba,one,0,10,train", "zumba,one,0,10,train", "yoga,one,0,10,train", "zumba,one,0,10,val",
        "zumba,two,0,10,train", "zumba,two,20,30,train", "zumba,three,0,10,train", "zumba,four,0,10,train",
    )  # fmt: skip
    touch(tmp_path / "v", "yoga/one_0_10.mp4", "zumba/one.mp4", "two.mp4", "._one.mp4", ".hidden/two_0_10.mp4", "one.txt")
    touch(tmp_path / "v", "three.mp4", content="")
    (tmp_path / "v" / "four.mp4").symlink_to("nowhere")
    out = succeed(tmp_path, "--videos", "v", "--annotations", "t.csv")
    assert lines(tmp_path, "train.list") == ["v/yoga/one_0_10.mp4 399"]
    assert lines(tmp_path, "remarks.csv") == [
        "where,remark",
        "t.csv:3,\"the same clip as t.csv:2, which counts\"",
        "t.csv:4,\"the same clip with another label as t.csv:2, which counts\"",
        "t.csv:5,\"the same clip with another split as t.csv:2, which counts\"",
        "v/zumba/one.mp4,\"the same clip as v/yoga/one_0_10.mp4, which is listed\"",
        "v/three.mp4,an empty file",
        "v/four.mp4,an empty file",
        "v/two.mp4,not in the annotations",
        'v/yoga/one_0_10.mp4,"lies in the folder of yoga, t.csv:2 says zumba"',
    ]
    assert lines(tmp_path, "missing.csv") == [
        "label,youtube_id,time_start,time_end,split,why",
        "zumba,two,0,10,train,no file",
        "zumba,two,20,30,train,no file",
        "zumba,three,0,10,train,empty file",
        "zumba,four,0,10,train,empty file",
    ]
    assert "train          5      1        4               1       1    1" in out
    assert "video files found: 5, in no list: 4" in out


def test_without_a_labelled_test_split_test_list_is_the_validation_split(tmp_path):
    annotate(tmp_path, "val.csv", "zumba,one,0,10,val")
    annotate(tmp_path, "test.csv", "two,0,10,test", heading="youtube_id,time_start,time_end,split")
    touch(tmp_path / "v", "one.mp4", "two.mp4")
    out = succeed(tmp_path, "--videos", "v", "--annotations", "val.csv", "test.csv")
    assert lines(tmp_path, "test.list") == lines(tmp_path, "val.list") == ["v/one.mp4 399"]
    assert lines(tmp_path, "infer.list") == ["v/two.mp4"]
    assert not (tmp_path / "lists" / "train.list").exists()
    assert "  test.list             the validation clips again: no labelled clip is in the test split\n" in out


def test_other_classes_are_numbered_in_their_own_order(tmp_path):
    annotate(tmp_path, "t.csv", "zumba,one,0,10,train", "Acting in play,two,0,10,train", "base jumping,three,0,10,val")
    touch(tmp_path / "v", "one.mp4", "acting_in_play/two.mp4", "three.mp4")
    out = succeed(tmp_path, "--videos", "v", "--annotations", "t.csv")
    assert json.loads("\n".join(lines(tmp_path, "kinetics_labels.json"))) == ["Acting_in_play", "base_jumping", "zumba"]
    assert lines(tmp_path, "train.list") == ["v/one.mp4 2", "v/acting_in_play/two.mp4 0"]
    assert "kinetics_labels.json  3 classes, numbered in their alphabetical order" in out


def test_labels_own_numbers_kinetics_names_by_themselves(tmp_path):
    touch(tmp_path / "v", "yoga/a.mp4", "zumba/b.mp4")
    succeed(tmp_path, "--videos", "v", "--labels", "own")
    assert lines(tmp_path, "train.list") == ["v/yoga/a.mp4 0", "v/zumba/b.mp4 1"]


def test_folders_are_split_by_seed_and_each_class_for_itself(tmp_path):
    touch(tmp_path / "v", *(f"C/{i}.mp4" for i in range(20)), *(f"C++/{i}.mp4" for i in range(20)), "one/1.mp4", "stray.mp4")
    splits = []
    for seed in ("0", "0", "1"):
        succeed(tmp_path, "--videos", "v", "--seed", seed, "--force")
        splits.append({name: lines(tmp_path, name) for name in ("train.list", "val.list", "test.list")})
        together = sum(splits[-1].values(), [])
        assert len(together) == len(set(together)) == 41
    assert splits[0] == splits[1] != splits[2]
    assert [len(splits[0][name]) for name in splits[0]] == [33, 4, 4]
    assert lines(tmp_path, "remarks.csv") == ["where,remark", "v/stray.mp4,in no class's folder"]
    touch(tmp_path / "v", "C++/more.mp4")
    succeed(tmp_path, "--videos", "v", "--force")
    again = {name: lines(tmp_path, name) for name in splits[0]}
    for name, before in splits[0].items():
        assert [line for line in before if "/C/" in line] == [line for line in again[name] if "/C/" in line]


@pytest.mark.parametrize(
    "number, shares, counts",
    [
        (1, (0.8, 0.1, 0.1), [1, 0, 0]),
        (2, (0.8, 0.1, 0.1), [1, 1, 0]),
        (3, (0.8, 0.1, 0.1), [1, 1, 1]),
        (10, (0.8, 0.1, 0.1), [8, 1, 1]),
        (15, (0.8, 0.1, 0.1), [12, 2, 1]),
        (3, (0.8, 0.2, 0), [2, 1, 0]),
        (5, (1, 0, 0), [5, 0, 0]),
        (1000, (0.7, 0.1, 0.2), [700, 100, 200]),
    ],
)
def test_split_counts(number, shares, counts):
    assert split_counts(number, shares) == counts


def test_links_are_followed_once(tmp_path):
    touch(tmp_path / "elsewhere", "a.mp4")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "yoga").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to("..")
    succeed(tmp_path, "--videos", "v")
    assert lines(tmp_path, "train.list") == ["v/yoga/a.mp4 398"]


def test_absolute_folders_give_absolute_paths(tmp_path):
    touch(tmp_path / "v", "yoga/a.mp4")
    out = succeed(tmp_path, "--videos", str(tmp_path / "v"))
    assert lines(tmp_path, "train.list") == [f"{tmp_path}/v/yoga/a.mp4 398"]
    assert out.endswith("\npaths are absolute\n")


def test_names_that_are_not_utf8_come_through(tmp_path):
    (tmp_path / "v" / "yoga").mkdir(parents=True)
    name = b"v/yoga/caf\xe9.mp4"
    with open(os.fsencode(tmp_path) + b"/" + name, "w") as file:
        file.write("x")
    succeed(tmp_path, "--videos", "v")
    assert (tmp_path / "lists" / "train.list").read_bytes() == name + b" 398\n"


def test_lists_are_replaced_by_force_only(tmp_path):
    touch(tmp_path / "v", "yoga/a.mp4", "yoga/b.mp4")
    succeed(tmp_path, "--videos", "v")
    before = {path.name: path.read_bytes() for path in (tmp_path / "lists").iterdir()}
    result = make_lists(tmp_path, "--videos", "v", "--split", "1", "0", "0")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --out lists: train.list exists; --force replaces the lists there\n"
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "lists").iterdir()}
    succeed(tmp_path, "--videos", "v", "--split", "1", "0", "0", "--force")
    assert not (tmp_path / "lists" / "val.list").exists()


MISTAKES = [
    (["--videos", "none"], "--videos none: no such folder"),
    (["--videos", "empty"], "--videos empty: no video files there"),
    ([], "the following arguments are required: --videos; see python data/make_lists.py --help"),
    (["--videos", "v", "--seed", "-1"], "--seed: expected a whole number from 0 up, not '-1'; see python data/make_lists.py --help"),
    (["--videos", "flat"], "no video lies in a folder of its class: found flat/a.mp4; or give --annotations"),
    (["--videos", "v", "--split", "1", "1", "0"], "--split 1 1 0: expected three shares that add up to 1, some for TRAIN"),
    (["--videos", "v", "--split", "0", "1", "0"], "--split 0 1 0: expected three shares that add up to 1, some for TRAIN"),
    (["--videos", "v", "--split", "nan", "1", "0"], "--split nan 1 0: expected three shares that add up to 1, some for TRAIN"),
    (["--videos", "split", "--split", "1", "0", "0"],
     "--split: split/train/yoga/a.mp4 and all others are split already, by folders train, val, test"),
    (["--videos", "v", "--annotations", "good.csv", "--split", "1", "0", "0"],
     "--split: the annotations say which clip is in which split"),
    (["--videos", "v", "--annotations", "none.csv"], "none.csv: the annotations cannot be read: No such file or directory"),
    (["--videos", "v", "--annotations", "v"], "v: the annotations cannot be read: Is a directory"),
    (["--videos", "v", "--annotations", "no_lines.csv"], "--annotations no_lines.csv: no clip in them"),
    (["--videos", "v", "--annotations", "other.csv"],
     "other.csv:1: expected a heading with youtube_id, time_start and time_end; no youtube_id"),
    (["--videos", "v", "--annotations", "binary.csv"], "binary.csv: no CSV file: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    (["--videos", "v", "--annotations", "no_id.csv"], "no_id.csv:3: no youtube_id"),
    (["--videos", "v", "--annotations", "times.csv"],
     "times.csv:2: time_start and time_end must be seconds, not 'soon' and '10'"),
    (["--videos", "v", "--annotations", "split.csv"],
     "split.csv:2: split 'dev': expected train, val or test, here or as the file's name"),
    (["--videos", "v", "--annotations", "absent.csv"],
     "none of 1 annotated clips is among 1 video files: expected names such as absent_000000_000010.mp4, found a.mp4"),
    (["--videos", "flat", "--annotations", "unlabelled_train.csv"],
     "unlabelled_train.csv:2: no label, and flat/a.mp4 lies in no class's folder"),
    (["--videos", "v", "--labels", "none.json"], "--labels none.json: cannot be read: No such file or directory"),
    (["--videos", "v", "--labels", "good.csv"], "--labels good.csv: is no JSON"),
    (["--videos", "v", "--labels", "map.json"], "--labels map.json: expected a JSON list of names"),
    (["--videos", "v", "--labels", "twins.json"], "--labels twins.json: 'a b' and 'a_b' cannot be told apart"),
    (["--videos", "v", "--labels", "other.json"], "--labels other.json: has no class 'yoga'"),
    (["--videos", "newline"],
     r"'newline/yoga/a\nb.mp4': a file list cannot hold a path with a line break, a control character or a blank at its start"),
]  # fmt: skip


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    touch(folder, "v/yoga/a.mp4", "flat/a.mp4", "split/train/yoga/a.mp4", "empty/readme.txt", "newline/yoga/a\nb.mp4")
    annotate(folder, "good.csv", "yoga,a,0,10,train")
    annotate(folder, "no_lines.csv")
    annotate(folder, "other.csv", "a,b", heading="video,class")
    annotate(folder, "no_id.csv", "yoga,a,0,10,train", "yoga,,0,10,train")
    annotate(folder, "times.csv", "yoga,a,soon,10,train")
    annotate(folder, "split.csv", "yoga,a,0,10,dev")
    annotate(folder, "absent.csv", "yoga,absent,0,10,train")
    annotate(folder, "unlabelled_train.csv", ",a,0,10,train")
    (folder / "binary.csv").write_bytes(b"\xff\xfe\0\0")
    touch(folder, "map.json", content='{"yoga": 0}')
    touch(folder, "twins.json", content='["a b", "a_b"]')
    touch(folder, "other.json", content='["cooking"]')
    return folder


@pytest.mark.parametrize("arguments, message", MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_gets_one_line_and_nothing_is_written(mistakes, arguments, message):
    result = make_lists(mistakes, *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"error: {message}\n")
    assert not (mistakes / "lists").exists()


def test_an_out_that_is_a_file_is_a_mistake(tmp_path):
    touch(tmp_path, "v/yoga/a.mp4", "lists")
    result = make_lists(tmp_path, "--videos", "v")
    assert (result.returncode, result.stderr) == (2, "error: --out lists: cannot be created: File exists\n")


def readme_tree(folder: Path) -> None:
    """The little Kinetics-400 and the own videos that the README's tables show."""
    annotate(
        folder, "annotations/train.csv", "abseiling,-0LMFU0LBoU,3,13,train,0", '"abseiling",_4YTwq0-73Y,15,25,train,0',
        "abseiling,3E7Jib8Yq5M,118,128,train,1", '"playing trumpet",a_12_345678,27,37,train,0',
        "playing trumpet,0Jrq8Yx-w_c,0,10,train,0", '"passing American football (in game)",1J7sFWMO2J0,40,50,train,0',
        "passing American football (in game),9W_p3nS-2Kg,5,15,train,0", heading=HEADING + ",is_cc",
    )  # fmt: skip
    annotate(folder, "annotations/val.csv", "abseiling,BzlWp0oBL-c,12,22,validate", "playing trumpet,hR8JHcSxQxE,0,10,validate")
    annotate(
        folder, "annotations/test.csv", "ehm_ss0xQ9I,6,16,test", "U6mQ2OH-Cpc,100,110,test",
        heading="youtube_id,time_start,time_end,split",
    )  # fmt: skip
    touch(
        folder / "videos" / "k400", "train/abseiling/-0LMFU0LBoU_000003_000013.mp4", "train/abseiling/_4YTwq0-73Y.mkv",
        "train/playing_trumpet/a_12_345678_000027_000037.mp4", "train/playing_trumpet/0Jrq8Yx-w_c_9_19.mp4",
        "train/passing_American_football_(in_game)/1J7sFWMO2J0_000040_000050.webm", "val/BzlWp0oBL-c_12_22.avi",
        "val/hR8JHcSxQxE_000000_000010.mp4", "val/copy/hR8JHcSxQxE_000000_000010.mp4",
        "test/abseiling/ehm_ss0xQ9I_000006_000016.mp4", "test/U6mQ2OH-Cpc_000100_000110.mp4",
    )  # fmt: skip
    touch(folder / "videos" / "k400", "train/abseiling/3E7Jib8Yq5M_000118_000128.mp4", content="")
    for name, number in {"Cat jumping": 7, "cooking": 6, "waving": 4}.items():
        touch(folder / "videos" / "mine", *(f"{name}/{i}.mp4" for i in range(number)))
        touch(folder / "videos" / "mine_split", *(f"{split}/{name}/a.mp4" for split in ("train", "val", "test")))


def test_the_commands_of_the_readme_print_what_it_shows(tmp_path):
    (tmp_path / "annotations").mkdir()
    readme_tree(tmp_path)
    for package in ("data", "utils"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("demo", "kinetics", "__pycache__"))
    readme = (ROOT / "data" / "README.md").read_text()
    blocks = re.findall(r"```bash\n(.+?)\n```(?:\n\n```text\n(.+?)\n```|[^`]*?\n\n```text\n(.+?)\n```)?", readme, re.S)
    assert len(blocks) == 3
    for command, *shown in blocks:
        python, *arguments = shlex.split(command)
        assert python == "python"
        result = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        if any(shown):
            assert result.stdout == "".join(shown).replace("/home/you/paddle-tsn", str(tmp_path)) + "\n"
    assert (tmp_path / "data/dataset/mine_split/val.list").read_text().splitlines() == [
        "videos/mine_split/val/Cat jumping/a.mp4 0", "videos/mine_split/val/cooking/a.mp4 1", "videos/mine_split/val/waving/a.mp4 2",
    ]  # fmt: skip
    [keys] = re.findall(r"```yaml\n(.+?)```", readme, re.S)
    (tmp_path / "mine.yaml").write_text(keys)
    config = load_config(tmp_path / "mine.yaml")
    for section in (config.train, config.valid, config.test, config.infer):
        assert (tmp_path / section.filelist).is_file()
    assert len(json.loads((tmp_path / config.infer.kinetics_labels).read_text())) == config.model.num_classes == 3
