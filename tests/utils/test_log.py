"""Test lines for people, and the JSON log that survives interruptions."""

import json
import re

import pytest

from conftest import says
from utils.errors import RunError
from utils.log import JsonLog, format_metrics, progress_bar, say, say_in, trim_json_log

MEANS = {"loss": 5.991464, "top1_acc": 100 / 256, "top5_acc": 100.0}


def test_metrics():
    assert format_metrics(MEANS) == "Loss: 5.991464, top1_acc: 0.39, top5_acc: 100.00"
    assert format_metrics({"loss": 0.5, "top1_acc": 50}) == "Loss: 0.500000, top1_acc: 50.00"
    assert format_metrics(MEANS, ("Loss", "TOP1_ACC", "TOP5_ACC")) == "Loss: 5.991464, TOP1_ACC: 0.39, TOP5_ACC: 100.00"


def test_a_line_with_mode_and_time(capsys):
    say_in("TRAIN", "Epoch 0")
    assert re.fullmatch(r"\[TRAIN \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] Epoch 0\n", capsys.readouterr().out)


def test_without_a_terminal_there_is_no_bar(capsys):
    with progress_bar(3, "epoch 0") as bar:
        bar.update()
        say("one line")
    assert capsys.readouterr() == ("one line\n", "")


@pytest.mark.parametrize("rank, out", [("0", "a\nb\n"), ("1", "a\n[rank 1] b\n")])
def test_lines_of_other_ranks_are_marked(capsys, monkeypatch, rank, out):
    monkeypatch.setenv("PADDLE_TRAINER_ID", rank)
    say("a")
    say("b", every_rank=True)
    assert capsys.readouterr().out == out


def test_json_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in (0, 1):
        with JsonLog(path) as log:  # a second run appends
            log.write(mode="train", iter=step, loss=float("nan"), lr=float("inf"), data_wait=0.25)
            assert len(path.read_text().splitlines()) == step + 1  # on the disk at once
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"mode": "train", "iter": step, "loss": None, "lr": None, "data_wait": 0.25} for step in (0, 1)
    ]
    with JsonLog(None) as log:
        log.write(a=1)
    with pytest.raises(RunError) as error:
        JsonLog(tmp_path / "none" / "log.jsonl")
    says(error.value, f"{tmp_path}/none/log.jsonl: ", "No such file or directory")


def test_a_log_says_where_it_was_resumed_and_tells_who_follows(tmp_path):
    told, path = [], tmp_path / "log.jsonl"

    def follow(values: dict) -> None:
        told.append(values)
        assert json.loads(path.read_text().splitlines()[-1]) == values  # on the disk already

    with JsonLog(path, {"resumed": [1, 3]}, follow) as log:
        log.write(iter=4, loss=float("nan"))
        log.write(iter=5, loss=0.5)
    assert told == [{"iter": 4, "loss": None, "resumed": [1, 3]}, {"iter": 5, "loss": 0.5}]


def line(mode: str, epoch: int, step: int) -> str:
    return json.dumps({"mode": mode, "epoch": epoch, "iter": step}) + "\n"


FULL = [
    line(mode, epoch, step)
    for epoch in (0, 1)
    for mode, step in (("train", 0), ("train", 1), ("train", 2), ("valid", 2))
]


@pytest.mark.parametrize(
    "epoch, step, kept",
    [
        (0, 0, 0),
        (0, 2, 2),
        (0, 3, 3),  # the epoch is trained; its validation runs again
        (1, 0, 4),
        (1, 1, 5),
        (2, 0, 8),
    ],
)
def test_a_resumed_run_drops_what_it_will_write_again(tmp_path, epoch, step, kept):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(FULL) + '{"mode": "train", "epo')  # cut off in writing
    trim_json_log(path, epoch, step)
    assert path.read_text() == "".join(FULL[:kept])


def test_a_log_that_is_no_log(tmp_path):
    path = tmp_path / "log.jsonl"
    trim_json_log(path, 0, 0)
    assert not path.exists()
    path.write_bytes(b"\xff\xfe\n[]\n3\n{}\n" + FULL[0].encode())
    trim_json_log(path, 1, 0)
    assert path.read_text() == FULL[0]
