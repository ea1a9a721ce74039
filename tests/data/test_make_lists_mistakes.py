"""Mistakes in the arguments and files of data/make_lists.py: one line, exit code 2, and nothing is written."""

import pytest

from list_making import annotate, make_lists, touch

MISTAKES = [
    (["--videos", "none"], "--videos none: no such folder"),
    (["--videos", "empty"], "--videos empty: no video files there; other files: .txt 1"),
    ([], "the following arguments are required: --videos; see python data/make_lists.py --help"),
    (["--videos", "v", "--seed", "-1"],
     "--seed: expected a whole number from 0 up, not '-1'; see python data/make_lists.py --help"),
    (["--videos", "flat"], "expected videos in a folder per class, found flat/a.mp4; or give --annotations"),
    (["--videos", "v", "--split", "1", "1", "0"],
     "--split 1 1 0: expected three shares that add up to 1, the first one above 0"),
    (["--videos", "v", "--split", "0", "1", "0"],
     "--split 0 1 0: expected three shares that add up to 1, the first one above 0"),
    (["--videos", "v", "--split", "nan", "1", "0"],
     "--split nan 1 0: expected three shares that add up to 1, the first one above 0"),
    (["--videos", "split", "--split", "1", "0", "0"],
     "--split: leave it out: folders train, val and test split the videos already, such as split/train/yoga/a.mp4"),
    (["--videos", "v", "--annotations", "good.csv", "--split", "1", "0", "0"],
     "--split: leave it out: the annotations say which clip is in which split"),
    (["--videos", "split", "--group", "a"],
     "--group: leave it out: folders train, val and test split the videos already, such as split/train/yoga/a.mp4"),
    (["--videos", "v", "--annotations", "good.csv", "--group", "a"],
     "--group: leave it out: the annotations say which clip is in which split"),
    (["--videos", "v", "--group", "(a"],
     "--group: expected a regular expression, not '(a': missing ), unterminated subpattern at position 0; "
     "see python data/make_lists.py --help"),
    (["--videos", "v", "--group", "/a"],
     "--group /a: matches none of the 1 paths below the class folders, such as a.mp4"),
    (["--videos", "v", "--group", ""],
     "--group : matches none of the 1 paths below the class folders, such as a.mp4"),
    (["--videos", "v", "--out", "a\nb"],
     r"--out: expected a path without control characters, not 'a\nb'; see python data/make_lists.py --help"),
    (["--videos", "v", "--annotations", "none.csv"],
     "none.csv: the annotations cannot be read: No such file or directory"),
    (["--videos", "v", "--annotations", "v"], "v: the annotations cannot be read: Is a directory"),
    (["--videos", "v", "--annotations", "no_lines.csv"],
     "--annotations no_lines.csv: expected clips, found no line of one"),
    (["--videos", "v", "--annotations", "other.csv"],
     "other.csv:1: expected a heading with youtube_id, time_start, time_end; youtube_id is missing"),
    (["--videos", "v", "--annotations", "binary.csv"],
     "binary.csv: not a CSV file: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    (["--videos", "v", "--annotations", "no_id.csv"], "no_id.csv:3: youtube_id is empty"),
    (["--videos", "v", "--annotations", "times.csv"],
     "times.csv:2: time_start and time_end must be seconds, not 'soon' and '10'"),
    (["--videos", "v", "--annotations", "split.csv"],
     "split.csv:2: split 'dev': expected train, val or test here, or at the end of the file's name"),
    (["--videos", "v", "--annotations", "absent.csv"],
     "none of 1 annotated clips is among 1 video files: expected names such as absent_000000_000010.mp4, found a.mp4"),
    (["--videos", "flat", "--annotations", "unlabelled_train.csv"],
     "unlabelled_train.csv:2: expected a label, because flat/a.mp4 is not in a class folder"),
    (["--videos", "v", "--labels", "none.json"], "none.json: no such label list (--labels)"),
    (["--videos", "v", "--labels", "good.csv"],
     "good.csv: the label list is not JSON: Expecting value: line 1 column 1 (char 0)"),
    (["--videos", "v", "--labels", "map.json"], "map.json: the label list must be a JSON list of names"),
    (["--videos", "v", "--labels", "twins.json"],
     "--labels twins.json: 'a b' and 'a_b' have the same letters and digits: rename one"),
    (["--videos", "v", "--labels", "other.json"], "--labels other.json: has no class 'yoga'"),
    (["--videos", "v", "--annotations", "escape.csv"],
     r"the class 'yo\x9b31mga': a label list cannot hold a character of this name: rename the class"),
    (["--videos", "escape"],
     r"'escape/yo\x9b31mga/a.mp4': a file list cannot hold a line break, a control character or a blank at the start"),
    (["--videos", "newline"],
     r"'newline/yoga/a\nb.mp4': a file list cannot hold a line break, a control character or a blank at the start"),
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


@pytest.mark.parametrize("arguments, message", MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_gets_one_line_and_nothing_is_written(mistakes, arguments, message):
    result = make_lists(mistakes, *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"error: {message}\n")
    assert not (mistakes / "lists").exists()


def test_an_out_that_is_a_file_is_a_mistake(tmp_path):
    touch(tmp_path, "v/yoga/a.mp4", "lists")
    result = make_lists(tmp_path, "--videos", "v")
    assert (result.returncode, result.stderr) == (2, "error: --out lists: cannot be created: File exists\n")
