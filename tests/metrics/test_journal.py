"""The journal: whole batches of this very run are kept, and nothing else; what is kept is final."""

import json
import os
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from conftest import ROOT
from metrics import journal as module
from metrics.journal import Journal, Rows, open_journal, part_path, read_rows, to_line
from metrics.report import write_predictions
from utils import lock
from utils.errors import RunError
from utils.processes.ranks import World

HEAD = {"script": "predict", "videos": 10, "weights": "w", "list": "l", "configuration": "c", "protocol": "p"}
ORDER, BATCH = range(10), 3


def row(position: int) -> dict:
    return {"position": position, "video": f"{position} \udcff.mp4", "predictions": [{"probability": 0.1 + 0.2}]}


LINES = [to_line(HEAD), *(to_line(row(i)) for i in ORDER)]


def run(folder: Path, rows: int = 10, head: dict = HEAD, **how) -> int:
    """Writes the first `rows` of the list that are not known yet, batch by batch; returns how many were known."""
    with open_journal(folder, "predictions", head, ["predictions"], ORDER, BATCH, **how) as journal:
        known = journal.count
        for start in range(known, rows, BATCH):
            journal.append(map(row, ORDER[start : min(start + BATCH, rows)]))
    return known


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "predictions.partial.jsonl"


def test_what_is_written(tmp_path, path, capsys):
    assert run(tmp_path) == 0
    assert path.read_text() == "".join(LINES)
    assert list(read_rows(path)) == list(map(row, ORDER))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("there", range(12))
def test_a_run_goes_on_behind_its_last_whole_batch(tmp_path, path, capsys, there):
    """`there`: lines of the file, the head included; the last batch has one video."""
    path.write_text("".join(LINES[:there]))
    known = 10 if there == 11 else max(0, there - 1) // BATCH * BATCH
    assert run(tmp_path) == known
    assert path.read_text() == "".join(LINES)
    said = f"{path}: {known} of 10 videos are known already: going on behind them\n"
    assert capsys.readouterr().out == (said if there else "")


WHOLE = "".join(LINES[:7]).encode()  # two batches


@pytest.mark.parametrize(
    "tail",
    [
        LINES[7][:1],
        LINES[7][:-2],
        LINES[7][:-1],  # all but the end of the line: a row that goes on there would be lost
        "\0" * 5000,
        LINES[7] + "\0" * 100,
        LINES[7] + LINES[8] + LINES[9][:-1],
        LINES[7] + "\n" + LINES[8],
        LINES[8] + LINES[9] + LINES[10],  # one is missing
        LINES[6] + LINES[7] + LINES[8],  # one is there twice
        LINES[7] + LINES[8].replace("position", "posit\0on") + LINES[9],
        LINES[7] + LINES[8].replace("predictions", "label") + LINES[9],
        LINES[7] + LINES[8].replace("}]}", "}") + LINES[9],
        LINES[7] + "[" * 100_000 + "\n",
        LINES[7] + "7\n" + LINES[9],
        LINES[7] + "é\n" + LINES[9],
        LINES[7] + to_line(HEAD) + LINES[9],
    ],
)
def test_a_torn_or_damaged_tail_is_dropped_with_its_batch(tmp_path, path, tail):
    path.write_bytes(WHOLE + tail.encode("latin1"))
    assert run(tmp_path, rows=0) == 6
    assert path.read_bytes() == WHOLE
    assert run(tmp_path) == 6
    assert path.read_text() == "".join(LINES)


def test_rows_beyond_the_list_are_dropped(tmp_path, path):
    path.write_text("".join(LINES) + to_line(row(10)))
    assert run(tmp_path) == 10
    assert path.read_text() == "".join(LINES)


@pytest.mark.parametrize(
    "there, said",
    [
        ({**HEAD, "weights": "other"}, "another run's (weights differ): starting anew"),
        ({**HEAD, "weights": "x", "list": "x"}, "another run's (weights, list differ): starting anew"),
        ({**HEAD, "script": "eval", "videos": 3}, "another run's (script, videos differ): starting anew"),
        ({"script": "predict"}, "another run's (videos, weights, list, configuration differ): starting anew"),
        ({"position": 0}, "its first line is damaged: starting anew"),
        ("\0" * 30, "its first line is damaged: starting anew"),
        (LINES[0][:-1], "its first line is damaged: starting anew"),
        ("null\n" + LINES[1], "its first line is damaged: starting anew"),
    ],
)
def test_what_another_run_has_left_is_named_and_dropped(tmp_path, path, capsys, there, said):
    path.write_text(there if isinstance(there, str) else to_line(there) + "".join(LINES[1:]))
    assert run(tmp_path) == 0
    assert capsys.readouterr().out == f"{path}: {said}\n"
    assert path.read_text() == "".join(LINES)


def test_equal_weights_may_lie_elsewhere(tmp_path):
    run(tmp_path, rows=3)
    assert run(tmp_path, head={**HEAD, "protocol": "other"}) == 3


def test_restart(tmp_path, path, capsys):
    assert run(tmp_path, restart=True) == 0
    assert capsys.readouterr().out == ""
    assert run(tmp_path, rows=3, restart=True) == 0
    assert capsys.readouterr().out == f"{path}: --restart=True: starting anew\n"
    assert path.read_text() == "".join(LINES[:4])


def test_a_journal_without_rows_leaves_nothing(tmp_path, path):
    folder = tmp_path / "made" / "here"
    assert run(folder, rows=0) == 0
    assert not folder.exists()
    assert run(tmp_path, rows=0) == 0
    assert os.listdir(tmp_path) == ["made"]


def test_an_interruption_while_it_is_read_loses_nothing(tmp_path, path, monkeypatch):
    run(tmp_path)

    def interrupted(line):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_parsed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert path.read_text() == "".join(LINES)


@pytest.mark.parametrize("ranks", [1, 2, 3, 11])
def test_the_parts_of_the_ranks_become_one_file(tmp_path, ranks):
    journals = []
    for rank in reversed(range(ranks)):
        order = range(rank, 10, ranks)
        journals.append(Journal(tmp_path, "predictions", HEAD, ["predictions"], World(rank, ranks)))
        assert journals[-1].resume(order, BATCH) == "new"
        if order:
            journals[-1].append(map(row, order))
    (tmp_path / "predictions.jsonl").write_text("of an earlier run")
    for journal in journals[:-1]:  # rank 0 comes last
        journal.__exit__()
    assert list(journals[-1].rows()) == list(map(row, ORDER))
    journals[-1].finish()
    journals[-1].discard()
    journals[-1].__exit__()
    assert os.listdir(tmp_path) == ["predictions.jsonl"]
    assert (tmp_path / "predictions.jsonl").read_text() == "".join(LINES)


def test_after_its_end_a_run_touches_no_file_of_the_next_one(tmp_path, path):
    with Journal(tmp_path, "predictions", HEAD, ["predictions"]) as journal:
        journal.resume(ORDER, BATCH)
        journal.append(map(row, ORDER))
        journal.finish()
        path.write_text("the next run's")
        journal.discard()
    assert path.read_text() == "the next run's"


@pytest.mark.parametrize("undelivered", [True, False])
def test_what_could_not_be_uploaded_is_known(tmp_path, path, undelivered):
    """The folder stands for a remote one; only what could not be uploaded remains in it."""
    path.with_name("predictions.jsonl").write_text("".join(LINES))
    assert run(tmp_path, rows=3, undelivered=undelivered) == (10 if undelivered else 0)
    assert path.with_name("predictions.jsonl").exists() is not undelivered


def test_parts_in_another_folder_are_missed_before_anything_is_computed(tmp_path):
    class Two(World):
        def gather(self, value):
            return [value, value]

    with pytest.raises(RunError) as error:
        run(tmp_path, world=Two(0, 2))
    part = tmp_path / "predictions.partial.rank1.jsonl"
    assert str(error.value) == f"{part}: no such file: --save_dir must be a folder that all processes share"
    assert os.listdir(tmp_path) == []
    with pytest.raises(RunError) as error:
        list(Rows([part]))
    assert str(error.value) == f"{part}: cannot be read: No such file or directory"


def test_what_earlier_runs_have_left_unfinished_is_removed(tmp_path, path):
    for rank in (1, 12):
        part_path(tmp_path, "predictions", rank).write_text("of a run of more ranks")
    for name in (".predictions.json.77.tmp", ".features.npy.77.tmp", ".report.html.77.tmp", ".config.yaml.7.tmp"):
        (tmp_path / name).write_text("of one that was killed")
    others = ["evaluation.partial.rank1.jsonl", ".TSN.pdparams.77.tmp", ".tmp", "notes.tmp"]
    for name in others:
        (tmp_path / name).touch()
    run(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, path.name])


def test_a_second_run_in_the_folder_is_refused(tmp_path, path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    with Journal(tmp_path, "predictions", HEAD, ["predictions"]) as first:
        first.resume(ORDER, BATCH)
        first.append(map(row, range(3)))
        with pytest.raises(RunError) as error:
            run(tmp_path)
        first.append(map(row, range(3, 6)))
    assert str(error.value) == f"{path}: another process is writing it: wait for its end, or give another --save_dir"
    assert run(tmp_path) == 6


def test_a_run_that_waited_for_one_that_finished_begins_its_own(tmp_path):
    """The file it has opened has got another name meanwhile."""
    journal = Journal(tmp_path, "predictions", HEAD, ["predictions"])
    journal.resume(ORDER, BATCH)
    journal.append(map(row, ORDER))
    code = "import pathlib, sys; from metrics.journal import Journal; print('waits', flush=True)\n"
    code += f"print(Journal(pathlib.Path(sys.argv[1]), 'predictions', {HEAD!r}, []).resume(range(10), 3))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        journal.finish()
        journal.__exit__()
        assert other.stdout.read() == "new\n"
    assert (tmp_path / "predictions.jsonl").read_text() == "".join(LINES)


def test_a_full_disk_costs_the_batch_in_hand(tmp_path, path):
    """A limit on the size of files stands for the disk: the row that reaches it is torn."""
    limit, before = len("".join(LINES[:5])) + 10, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(RunError) as error:
            run(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(error.value) == f"{path}: cannot be written: File too large"
    assert path.stat().st_size == limit
    assert run(tmp_path) == 3
    assert path.read_text() == "".join(LINES)


def test_rows_are_on_the_disk_within_a_second(tmp_path, monkeypatch):
    clock, flushed = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module.os, "fsync", lambda fd: flushed.append(clock[0]))
    with Journal(tmp_path, "predictions", HEAD, ["predictions"]) as journal:
        journal.resume(ORDER, 1)
        for position in ORDER:
            clock[0] += 0.15
            journal.append([row(position)])
    assert max(b - a for a, b in zip(flushed, flushed[1:])) < 1 and len(flushed) > 4


def test_what_is_not_a_number_never_gets_in(tmp_path):
    with Journal(tmp_path, "predictions", HEAD, ["predictions"]) as journal:
        journal.resume(ORDER, BATCH)
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.append([{"position": 0, "video": "a", "predictions": float("nan")}])


def final_files(folder: Path, rows: int) -> int:
    """The most bytes that Python has held while they were made."""
    best = [{"class_id": k, "label": "a class", "probability": 0.1} for k in range(5)]
    with Journal(folder, "predictions", HEAD, ["predictions"]) as journal:
        journal.resume(range(rows), BATCH)
        journal.append({"position": i, "video": f"{i}.mp4", "predictions": best} for i in range(rows) if i % 3)
        journal.append({"position": i, "video": f"{i}.mp4", "error": "no such file"} for i in range(0, rows, 3))
        tracemalloc.start()
        try:
            assert write_predictions(folder, journal.rows()) == -(-rows // 3)
            journal.resume(range(rows), BATCH)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_the_memory_for_the_final_files_does_not_grow_with_the_list(tmp_path):
    """A row takes 2 kB as an object: 3,000 would be 6 MB."""
    assert final_files(tmp_path / "long", 3_000) < final_files(tmp_path / "short", 10) + 500_000


@pytest.mark.parametrize("value", [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1e22, 3])
def test_numbers_come_back_as_they_were(value):
    assert json.loads(to_line({"x": value}))["x"] == value
