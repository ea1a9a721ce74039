"""Loggers' files as TensorBoard and VisualDL read them: a resumed run has each step once."""

import json
from pathlib import Path

import pytest

from report_rows import log_line
from results.pages.loggers import Logger

Scalars = list[tuple[str, int, float, float]]  # (tag, step, value, seconds since 1970), in the order of the file


def of_tensorboard(path: Path) -> Scalars:
    from tensorboardX.proto.event_pb2 import Event

    data, found = path.read_bytes(), []
    while data:  # a record: length, 4 bytes of checksum, content, 4 bytes of checksum
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        found += [(value.tag, event.step, value.simple_value, event.wall_time) for value in event.summary.value]
        data = data[16 + length :]
    return found


def of_visualdl(path: Path) -> Scalars:
    from visualdl import LogReader

    reader = LogReader(file_path=str(path))
    tags = reader.get_tags()["scalar"]
    return [(t, s.id, s.value, s.timestamp / 1000) for t in tags for s in reader.get_data("scalar", t)]


@pytest.mark.parametrize(
    "kind, package, read", [("tensorboard", "tensorboardX", of_tensorboard), ("visualdl", "visualdl", of_visualdl)]
)
def test_a_resumed_run_has_each_step_once(tmp_path, kind, package, read):
    pytest.importorskip(package)
    log, lines = tmp_path / "train_log.jsonl", [log_line("train", e, i) for e in (0, 1) for i in (0, 2)]
    lines += [log_line("valid", 1, 2, loss=None, top1_acc=40.0)]
    for kept in (0, 2, 0):  # from the start, resumed after the first epoch, from the start again
        log.write_text("".join(json.dumps(line) + "\n" for line in lines[:kept]))
        board = Logger(kind, log, steps_per_epoch=3)
        for line in lines[kept:]:
            with open(log, "a") as file:
                file.write(json.dumps(line) + "\n")
            board(line)
        [path] = (tmp_path / "logger").iterdir()
        found = read(path)  # while the logger is open
        board.close()
        assert [step for tag, step, *_ in found if tag == "train/loss"] == [0, 2, 3, 5]
        assert [(step, value) for tag, step, value, _ in found if tag == "valid/top1_acc"] == [(5, 40.0)]
        assert {tag.split("/")[1] for tag, *_ in found} == {
            "loss", "top1_acc", "lr", "videos_per_second", "data_wait", "videos", "unreadable",
        }  # fmt: skip
        assert {step: when for _, step, _, when in found} == {0: 1.7e9, 2: 1.7e9 + 2, 3: 1.7e9 + 100, 5: 1.7e9 + 102}
