"""Mistakes in the arguments and files of data/make_lists.py: one line, exit code 2, and nothing is written."""

import pytest

from conftest import says
from list_making import annotate, make_lists, touch

HELP = "see python data/make_lists.py --help"
SHARES = "three shares that add up to 1", "the first one above 0"
BY_FOLDERS = "leave it out", "folders train, val and test", "such as split/train/yoga/a.mp4"
BY_ANNOTATIONS = "leave it out", "the annotations"
MISTAKES = [
    (["--videos", "none"], ["--videos none: ", "no such folder"]),
    (["--videos", "empty"], ["--videos empty: ", "no video files", ".txt 1"]),
    ([], ["the following arguments are required: ", "--videos", HELP]),
    (["--videos", "v", "--seed", "-1"], ["--seed: ", "from 0 up", "not '-1'", HELP]),
    (["--videos", "flat"], ["expected videos in a folder per class", "found flat/a.mp4", "--annotations"]),
    (["--videos", "v", "--split", "1", "1", "0"], ["--split 1 1 0: ", *SHARES]),
    (["--videos", "v", "--split", "0", "1", "0"], ["--split 0 1 0: ", *SHARES]),
    (["--videos", "v", "--split", "nan", "1", "0"], ["--split nan 1 0: ", *SHARES]),
    (["--videos", "split", "--split", "1", "0", "0"], ["--split: ", *BY_FOLDERS]),
    (["--videos", "v", "--annotations", "good.csv", "--split", "1", "0", "0"], ["--split: ", *BY_ANNOTATIONS]),
    (["--videos", "split", "--group", "a"], ["--group: ", *BY_FOLDERS]),
    (["--videos", "v", "--annotations", "good.csv", "--group", "a"], ["--group: ", *BY_ANNOTATIONS]),
    (["--videos", "v", "--group", "(a"],
     ["--group: ", "a regular expression", "not '(a'", "unterminated subpattern at position 0", HELP]),
    (["--videos", "v", "--group", "/a"], ["--group /a: ", "none of the 1 paths", "such as a.mp4"]),
    (["--videos", "v", "--group", ""], ["--group : ", "none of the 1 paths", "such as a.mp4"]),
    (["--videos", "v", "--out", "a\nb"], ["--out: ", "without control characters", r"not 'a\nb'", HELP]),
    (["--videos", "v", "--annotations", "none.csv"], ["none.csv: ", "annotations", "No such file or directory"]),
    (["--videos", "v", "--annotations", "v"], ["v: ", "annotations", "Is a directory"]),
    (["--videos", "v", "--annotations", "no_lines.csv"], ["--annotations no_lines.csv: ", "expected clips", "no line"]),
    (["--videos", "v", "--annotations", "other.csv"],
     ["other.csv:1: ", "a heading with youtube_id, time_start, time_end", "youtube_id is missing"]),
    (["--videos", "v", "--annotations", "binary.csv"], ["binary.csv: ", "not a CSV file", "0xff in position 0"]),
    (["--videos", "v", "--annotations", "no_id.csv"], ["no_id.csv:3: ", "youtube_id is empty"]),
    (["--videos", "v", "--annotations", "times.csv"],
     ["times.csv:2: ", "time_start and time_end", "seconds", "not 'soon' and '10'"]),
    (["--videos", "v", "--annotations", "split.csv"],
     ["split.csv:2: ", "split 'dev'", "train, val or test", "the file's name"]),
    (["--videos", "v", "--annotations", "absent.csv"],
     ["none of 1 annotated clips ", "such as absent_000000_000010.mp4", "found a.mp4"]),
    (["--videos", "flat", "--annotations", "unlabelled_train.csv"],
     ["unlabelled_train.csv:2: ", "expected a label", "flat/a.mp4 is not in a class folder"]),
    (["--videos", "v", "--labels", "none.json"], ["none.json: ", "no such label list", "--labels"]),
    (["--videos", "v", "--labels", "good.csv"], ["good.csv: ", "label list is not JSON", "line 1 column 1"]),
    (["--videos", "v", "--labels", "map.json"], ["map.json: ", "label list", "a JSON list of names"]),
    (["--videos", "v", "--labels", "twins.json"], ["--labels twins.json: ", "'a b' and 'a_b'", "rename one"]),
    (["--videos", "v", "--labels", "other.json"], ["--labels other.json: ", "no class 'yoga'"]),
    (["--videos", "v", "--annotations", "escape.csv"], [r"the class 'yo\x9b31mga': ", "label list", "rename "]),
    (["--videos", "escape"], [r"'escape/yo\x9b31mga/a.mp4': ", "file list cannot hold", "a control character"]),
    (["--videos", "newline"], [r"'newline/yoga/a\nb.mp4': ", "file list cannot hold", "a line break"]),
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
    annotate(folder, "escape.csv", "yo\x9b31mga,a,0,10,train")
    touch(folder, "escape/yo\x9b31mga/a.mp4")
    (folder / "binary.csv").write_bytes(b"\xff\xfe\0\0")
    touch(folder, "map.json", content='{"yoga": 0}')
    touch(folder, "twins.json", content='["a b", "a_b"]')
    touch(folder, "other.json", content='["cooking"]')
    return folder


@pytest.mark.parametrize("arguments, pieces", MISTAKES, ids=["".join(pieces)[:40] for _, pieces in MISTAKES])
def test_a_mistake_gets_one_line_and_nothing_is_written(mistakes, arguments, pieces):
    result = make_lists(mistakes, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    says(result.stderr, "error: " + pieces[0], *pieces[1:])
    assert not (mistakes / "lists").exists()


def test_an_out_that_is_a_file_is_a_mistake(tmp_path):
    touch(tmp_path, "v/yoga/a.mp4", "lists")
    result = make_lists(tmp_path, "--videos", "v")
    assert result.returncode == 2
    says(result.stderr, "error: --out lists: ", "File exists")
