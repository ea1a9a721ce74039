"""data/make_lists.py: its lists, its reports, and its commands in data/README.md."""

import json
import os
import re
import shlex
import shutil
import sys
import tracemalloc
from pathlib import Path

import pytest

from conftest import run_python, says
from data.lists.classes import KINETICS_LABELS, choose_classes, loose, read_classes
from data.lists.dealing import split_clips
from data.lists.own_config import network_for
from data.make_lists import Found, lists_of, write, writers_of
from list_making import HEADING, annotate, lines, make_lists, succeed, touch, video_bytes
from reader.filelist import read_list
from reader.videos import Video

ROOT = Path(__file__).parents[2]


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
        (
            "a.csv",
            '\ufeff"split","label","youtube_id","time_start","time_end"',
            '"val","abseiling","id_of_video","1","11"',
        ),
        ("validate.csv", "youtube_id,time_start,time_end", "id_of_video,1,11"),
    ],
)
def test_every_form_of_annotations_is_read(tmp_path, name, heading, line):
    annotate(tmp_path, name, line, heading=heading)
    touch(tmp_path / "v", "abseiling/id_of_video_000001_000011.mp4")
    succeed(tmp_path, "--videos", "v", "--annotations", name)
    assert lines(tmp_path, "val.list") == ["v/abseiling/id_of_video_000001_000011.mp4 0"]


def test_remarks_name_skipped_files_and_lines(tmp_path):
    annotate(
        tmp_path, "t.csv", "zumba,one,0,10,train", "zumba,one,0,10,train", "yoga,one,0,10,train", "zumba,one,0,10,val",
        "zumba,two,0,10,train", "zumba,two,20,30,train", "zumba,three,0,10,train", "zumba,four,0,10,train",
    )  # fmt: skip
    touch(
        tmp_path / "v", "yoga/one_0_10.mp4", "zumba/one.mp4", "two.mp4", "._one.mp4", ".hidden/two_0_10.mp4", "one.txt"
    )
    touch(tmp_path / "v", "three.mp4", content="")
    (tmp_path / "v" / "four.mp4").symlink_to("nowhere")
    out = succeed(tmp_path, "--videos", "v", "--annotations", "t.csv")
    assert lines(tmp_path, "train.list") == ["v/yoga/one_0_10.mp4 399"]
    assert lines(tmp_path, "remarks.csv") == [
        "where,remark",
        't.csv:3,"the same clip as t.csv:2, which is used"',
        't.csv:4,"the same clip as t.csv:2, which is used; only its label differs"',
        't.csv:5,"the same clip as t.csv:2, which is used; only its split differs"',
        'v/zumba/one.mp4,"the same clip as v/yoga/one_0_10.mp4, which is listed"',
        "v/three.mp4,an empty file",
        "v/four.mp4,an empty file",
        "v/two.mp4,not in the annotations",
        'v/yoga/one_0_10.mp4,"is in the folder of yoga, but t.csv:2 says zumba"',
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
    assert "kinetics_labels.json  3 classes, numbered in alphabetical order" in out


def test_labels_own_numbers_kinetics_names_by_themselves(tmp_path):
    touch(tmp_path / "v", "yoga/a.mp4", "zumba/b.mp4")
    succeed(tmp_path, "--videos", "v", "--labels", "own")
    assert lines(tmp_path, "train.list") == ["v/yoga/a.mp4 0", "v/zumba/b.mp4 1"]


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
    assert "\npaths are absolute\n" in out


def test_names_that_are_not_utf8_come_through(tmp_path):
    (tmp_path / "v" / "yoga").mkdir(parents=True)
    name = b"v/yoga/caf\xe9.mp4"
    with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
        file.write(video_bytes("x"))
    succeed(tmp_path, "--videos", "v")
    assert (tmp_path / "lists" / "train.list").read_bytes() == name + b" 398\n"


def test_lists_are_replaced_by_force_only(tmp_path):
    touch(tmp_path / "v", "yoga/a.mp4", "yoga/b.mp4")
    succeed(tmp_path, "--videos", "v")
    before = {path.name: path.read_bytes() for path in (tmp_path / "lists").iterdir()}
    result = make_lists(tmp_path, "--videos", "v", "--split", "1", "0", "0")
    assert (result.returncode, result.stdout) == (2, "")
    says(result.stderr, "error: --out lists: ", "train.list exists", "--force")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "lists").iterdir()}
    succeed(tmp_path, "--videos", "v", "--split", "1", "0", "0", "--force")
    assert not (tmp_path / "lists" / "val.list").exists()


def test_a_long_list_is_written_as_it_is_made(tmp_path):
    number, folders = 20_000, [(f"class {i}",) for i in range(10)]
    videos = [Video(f"videos/{i % 10}/{i:070}.mp4", folders[i % 10], False) for i in range(number)]
    tracemalloc.start()
    try:
        classes = choose_classes((folder for (folder,) in folders), "own")
        found = Found(split_clips(videos, classes, (0.8, 0.1, 0.1), seed=0), classes)
        clips = tracemalloc.get_traced_memory()[0]
        lists = lists_of(found)
        write(tmp_path, writers_of(found, lists, tmp_path, network_for(classes, light=False)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert clips < 100 * number and peak < clips + 50 * number  # a line of a list has 85 bytes
    written = [(tmp_path / f"{split}.list").read_text().splitlines() for split in ("train", "val", "test")]
    assert [len(part) for part in written] == [16_000, 2_000, 2_000]
    assert sorted(sum(written, [])) == sorted(f"{video.path} {i % 10}" for i, video in enumerate(videos))
    assert (tmp_path / "infer.list").read_text().splitlines() == [line.rsplit(" ", 1)[0] for line in written[2]]


def readme_tree(folder: Path) -> None:
    """Make the small Kinetics-400 and the videos that the README's tables show."""
    annotate(
        folder, "annotations/train.csv", "abseiling,-0LMFU0LBoU,3,13,train,0", '"abseiling",_4YTwq0-73Y,15,25,train,0',
        "abseiling,3E7Jib8Yq5M,118,128,train,1", '"playing trumpet",a_12_345678,27,37,train,0',
        "playing trumpet,0Jrq8Yx-w_c,0,10,train,0", '"passing American football (in game)",1J7sFWMO2J0,40,50,train,0',
        "passing American football (in game),9W_p3nS-2Kg,5,15,train,0", heading=HEADING + ",is_cc",
    )  # fmt: skip
    annotate(
        folder,
        "annotations/val.csv",
        "abseiling,BzlWp0oBL-c,12,22,validate",
        "playing trumpet,hR8JHcSxQxE,0,10,validate",
    )
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
        rooms = ["garden", "kitchen", "street", "hall"]
        touch(folder / "videos" / "mine", *(f"{name}/{rooms[i % 4]}_{i:02}.mp4" for i in range(number)))
        touch(folder / "videos" / "mine_split", *(f"{split}/{name}/a.mp4" for split in ("train", "val", "test")))
    (folder / "labels.csv").write_text("path,labels,split\nwaving/hall_03.mp4,waving;cooking,train\n")


def test_the_commands_of_the_readme_print_what_it_shows(tmp_path):
    (tmp_path / "annotations").mkdir()
    readme_tree(tmp_path)
    for package in ("data", "reader", "utils"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("demo", "kinetics", "__pycache__")
        )
    readme = (ROOT / "data" / "README.md").read_text()
    readme = re.sub(r"\n## UCF101.*?(?=\n## )", "", readme, flags=re.DOTALL)  # tests/data/test_guide.py has these
    blocks = re.findall(
        r"```bash\n(.+?)\n```(?:\n\n```text\n(.+?)\n```|[^`]*?\n\n```text\n(.+?)\n```)?", readme, re.DOTALL
    )
    blocks = [block for block in blocks if "make_lists.py" in block[0]]  # tests/data/test_guide.py runs the others
    assert len(blocks) == 5 and sum(any(shown) for _, *shown in blocks) == 2
    for command, *shown in blocks:
        python, *arguments = shlex.split(command.splitlines()[0])  # the lines after it train
        assert python == "python"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # our Python is `python`
        environment = {**os.environ, "PATH": path}
        result = run_python([*arguments, "--similar=0"], environment, tmp_path, 120)  # here all videos are equal
        assert result.returncode == 0, result.stderr
        if any(shown):
            assert result.stdout == "".join(shown).replace("/home/you/paddle-tsn", str(tmp_path)) + "\n"
    assert (tmp_path / "data/dataset/mine_split/val.list").read_text().splitlines() == [
        "videos/mine_split/val/Cat jumping/a.mp4 0",
        "videos/mine_split/val/cooking/a.mp4 1",
        "videos/mine_split/val/waving/a.mp4 2",
    ]
    assert (tmp_path / "data/dataset/labels/train.list").read_text() == "videos/mine/waving/hall_03.mp4 0,1\n"
