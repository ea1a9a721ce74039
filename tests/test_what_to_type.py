"""Test what users of other programs, or of a shell, may type: one line says what to type instead."""

import os

import pytest

from conftest import says
from reader.build import read_section_list
from reader.filelist import read_list
from results.list_run import ListRun
from results.pages.per_video import check_wanted
from results.pages.timeline import described
from results.task import _check_is_video, describe_in_list
from utils.config.flags import parse_flags
from utils.config.loading import load_config
from utils.errors import InputError


@pytest.mark.parametrize(
    "script, arguments, pieces",
    [
        ("predict", ["clip.mp4"], ("unexpected argument ", "clip.mp4; ", "did you mean --video_path=clip.mp4?")),
        ("live", ["rtsp://a/b"], ("unexpected argument ", "rtsp://a/b; ", "did you mean --source=rtsp://a/b?")),
        ("eval", ["test.list"], ("unexpected argument ", "test.list; ", "did you mean --filelist=test.list?")),
        ("predict", ["--video_path=clips/a.mp4", "clips/b.mp4"],
         ("unexpected argument ", "clips/b.mp4; ", "quotes: --video_path='clips/*'")),
        ("predict", ["--output=x"], ("unknown flag ", "--output; ", "did you mean --save_dir?")),
        ("predict", ["--conf=0.5"], ("unknown flag ", "--conf; ", "did you mean --threshold?")),
        ("predict", ["--topk=3"], ("unknown flag ", "--topk; ", "did you mean --infer_topk?")),
    ],
)  # fmt: skip
def test_arguments(script, arguments, pieces, tmp_path, monkeypatch):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/b.mp4").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        parse_flags(script, arguments)
    says(error.value, *pieces)


def test_a_switch_without_a_value_is_on():
    assert parse_flags("predict", ["--save_video", "--window=2"]).save_video is True


@pytest.mark.parametrize("address", ["https://a.org/clip.mp4", "rtsp://camera/1"])
def test_an_address_as_a_video(address):
    with pytest.raises(InputError) as error:
        _check_is_video(address)
    says(error.value, f"--video_path={address}: ", "an address, not a file", "python live.py --source=ADDRESS")


@pytest.mark.parametrize(
    "line, labelled, hint",
    [
        ("a.mp4,1", True, "in place of the comma: 'a.mp4 1'"),
        ("a.mp4,1", False, "in place of the comma: 'a.mp4 1'"),
        ("'my clip.mp4' x", True, "without quotes"),
        ('"my clip.mp4"', False, "without quotes"),
        ("# path label", True, "no comments"),
        ("# all of May", False, "no comments"),
        ("a.mp4 jump", True, "the number of the class"),
        ("a.mp4 jump", False, "the number of the class"),
    ],
)
def test_lines_of_lists(line, labelled, hint, tmp_path):
    (tmp_path / "a.list").write_text(f"b.mp4 0\n{line}\n")
    with pytest.raises(InputError) as error:
        read_list(str(tmp_path / "a.list"), num_classes=3, needs_label=labelled)
    says(error.value, f"{tmp_path}/a.list:2: ", "expected", line, hint)


def test_lists_and_videos_in_each_others_place(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x20ftypisom\0\0")
    (tmp_path / "a.list").write_text("a.mp4 0\n")
    with pytest.raises(InputError) as error:
        _check_is_video(str(tmp_path / "a.list"))
    says(error.value, f"--video_path={tmp_path}/a.list: ", "a list of videos", "--filelist=")
    with pytest.raises(InputError) as error:
        read_list(str(tmp_path / "a.mp4"), num_classes=3)
    says(error.value, f"{tmp_path}/a.mp4: ", "not a list of videos", "predict.py --video_path=")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        config = load_config("", {"TEST.filelist": "gone.list"})
        read_section_list(config, config.test)
    says(error.value, "gone.list: ", "no such file list", f"from {os.getcwd()}")


def test_a_stride_that_leaves_gaps(capsys):
    flags = parse_flags("predict", ["--window=2", "--stride=5"])
    check_wanted(flags, load_config("").infer, 1)
    assert capsys.readouterr().out == (
        "--stride=5 is longer than --window=2: the video between two windows is skipped; --stride=2 covers all of it\n"
    )


PREDICTIONS = [[{"class_id": k, "label": "ab"[k], "probability": 0.75}] for k in (0, 1)]


def test_what_the_screen_shows():
    assert describe_in_list({"video": "x.mp4", "predictions": PREDICTIONS[1]}) == "x.mp4: b 75.0%"
    classes = [0, 0, 0, 1, 1, 1, 1, 1, 1, 0]  # the class of each window of 10 s
    said = [{"video": "x", "predictions": PREDICTIONS[k]} for k in classes]
    records = [{**what, "start": 10 * i, "end": 10 * i + 10} for i, what in enumerate(said)]
    assert described(records).splitlines() == [
        "      0:00 to 0:30  a",
        "      0:30 to 1:30  b",
        "      1:30 to 1:40  a",
        "  stretches    total  longest  class",
        "          1     1:00     1:00  b",
        "          2     0:40     0:30  a",
    ]


def test_after_an_interruption_a_line_says_where_the_same_command_goes_on(capsys):
    class Known:
        count = 4

        def todo(self):
            return [4, 5]

    class Kept:
        known = Known()

    run = ListRun.__new__(ListRun)
    run.journal, run._order, run.batch_size = Kept(), range(6), 2
    run._kind = type("Kind", (), {"work": "prediction"})

    def interrupted(order):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        list(run.complete(interrupted))
    assert capsys.readouterr().out == "the same command continues from 4 of 6\n"
