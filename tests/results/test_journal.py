"""The journal keeps complete batches of this run and nothing else, and never computes them again."""

import json
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from conftest import ROOT, largest_file, says
from inference.rows import PREDICTION
from results import journal as module
from results import known_batches
from results.journal import Journal, Rows, part_path, read_rows
from results.list_run import ListRun
from results.tables import write_predictions
from utils.config.flags import Flags
from utils.errors import RunError
from utils.processes.ranks import World
from utils.storage import lock
from utils.storage.lines import to_line
from utils.storage.stamps import signature

HEAD = {"script": "predict", "videos": 10, "weights": "w", "list": "l", "configuration": "c", "protocol": "p"}
ORDER, BATCH = range(10), 3


def row(position: int) -> dict:
    """Return the row of a remote video, which never counts as changed."""
    video = f"s3://b/{position} \udcff.mp4"
    return {"position": position, "video": video, "file": None, "predictions": [{"probability": 0.1 + 0.2}]}


LINES = [to_line(HEAD), *(to_line(row(i)) for i in ORDER)]


def list_run(folder: Path, head: dict = HEAD, restart: bool = False, **how) -> ListRun:
    flags = Flags("predict", "", save_dir=str(folder), restart=restart)
    return ListRun(PREDICTION, flags, head, BATCH, fits=lambda row: row["predictions"] != "forged", **how)


def run(folder: Path, rows: int = 10, head: dict = HEAD, **how) -> int:
    """Write the unknown ones of the first `rows` rows, batch by batch. Return the number of known rows."""
    with list_run(folder, head, **how) as opened:
        journal, known = opened.journal, opened.journal.known.count
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
    """there: the number of lines in the file, with the head. The last batch has one video."""
    path.write_text("".join(LINES[:there]))
    known = 10 if there == 11 else max(0, there - 1) // BATCH * BATCH
    assert run(tmp_path) == known
    assert path.read_text() == "".join(LINES)
    said = capsys.readouterr().out
    assert bool(said) == bool(there)
    if there:
        says(said, f"{path}: ", f"{known} of 10 videos ", "continuing after them")


WHOLE = "".join(LINES[:7]).encode()  # two batches


@pytest.mark.parametrize(
    "tail",
    [
        LINES[7][:1],
        LINES[7][:-2],
        LINES[7][:-1],  # only the end of the line is missing
        "\0" * 5000,
        LINES[7] + "\0" * 100,
        LINES[7] + LINES[8] + LINES[9][:-1],
        LINES[7] + "\n" + LINES[8],
        LINES[8] + LINES[9] + LINES[10],  # a row is missing
        LINES[6] + LINES[7] + LINES[8],  # a row stands twice
        LINES[7] + LINES[8].replace("position", "posit\0on") + LINES[9],
        LINES[7] + LINES[8].replace("predictions", "label") + LINES[9],
        LINES[7] + LINES[8].replace("}]}", "}") + LINES[9],
        LINES[7] + "[" * 100_000 + "\n",
        LINES[7] + "7\n" + LINES[9],
        LINES[7] + "é\n" + LINES[9],
        LINES[7] + to_line(HEAD) + LINES[9],
        *(LINES[7] + to_line({**row(7), "position": value}) + LINES[9] for value in (7.0, "7", [7], None, 10**30)),
        *(LINES[7] + to_line({**row(7), "video": value}) + LINES[9] for value in (1, None, [])),
        LINES[7] + to_line({**row(7), "predictions": "forged"}) + LINES[9],
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
    "there, why",
    [
        ({**HEAD, "weights": "other"}, "(weights differ)"),
        ({**HEAD, "weights": "x", "list": "x"}, "(weights, list differ)"),
        ({**HEAD, "script": "eval", "videos": 3}, "(script, videos differ)"),
        ({"script": "predict"}, "(videos, weights, list, configuration differ)"),
        ({"position": 0}, "its first line is damaged"),
        ("\0" * 30, "its first line is damaged"),
        (LINES[0][:-1], "its first line is damaged"),
        ("null\n" + LINES[1], "its first line is damaged"),
    ],
)
def test_what_another_run_has_left_is_named_and_dropped(tmp_path, path, capsys, there, why):
    path.write_text(there if isinstance(there, str) else to_line(there) + "".join(LINES[1:]))
    assert run(tmp_path) == 0
    says(capsys.readouterr().out, f"{path}: ", why, "starting anew")
    assert path.read_text() == "".join(LINES)


def test_equal_weights_may_lie_elsewhere(tmp_path):
    run(tmp_path, rows=3)
    assert run(tmp_path, head={**HEAD, "protocol": "other"}) == 3


@pytest.fixture
def videos(tmp_path) -> list[Path]:
    """Return ten files in a folder of their own."""
    (tmp_path / "videos").mkdir()
    paths = [tmp_path / f"videos/{i}.mp4" for i in ORDER]
    for i, path in enumerate(paths):
        path.write_bytes(b"x" * (i + 1))
    return paths


def read(videos: list[Path], positions: Iterable[int], answer: float) -> list[dict]:
    """Return the rows that a pass would write now."""
    rows = []
    for i in positions:
        start, file = {"position": i, "video": str(videos[i])}, signature(str(videos[i]))
        rest = {"error": "no such file"} if file is None else {"predictions": [{"probability": answer}]}
        rows.append({**start, "file": file, **rest})
    return rows


def go_on(folder: Path, videos: list[Path], answer: float, most: int = 99, **how) -> list[int]:
    """Run, and return the positions that were computed. answer: the probability in this run's rows."""
    done = []
    with list_run(folder, **how) as opened:
        journal = opened.journal
        todo = list(journal.known.todo())
        for start in range(0, min(len(todo), most), BATCH):
            done += todo[start : start + BATCH]
            journal.append(read(videos, todo[start : start + BATCH], answer))
        if done == todo:
            journal.settle()
    return done


def touch(path: Path) -> None:
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))


CHANGES = [
    (lambda videos: touch(videos[4]), 0, 1, [3, 4, 5]),
    (lambda videos: videos[0].write_bytes(b"longer"), 0, 1, [0, 1, 2]),
    (lambda videos: (touch(videos[3]), touch(videos[5]), videos[9].unlink()), 0, 3, [3, 4, 5, 9]),
    (lambda videos: [os.replace(videos[7], videos[8]), videos[7].touch()], 0, 2, [6, 7, 8]),
]


@pytest.mark.parametrize("change, unreadable, changed, again", CHANGES)
@pytest.mark.parametrize("known", [10, 6])
def test_what_has_changed_is_done_again_with_its_batch(tmp_path, path, videos, capsys, change, unreadable, changed,
                                                       again, known):  # fmt: skip
    go_on(tmp_path, videos, 0.25, known)
    change(videos)
    again = [i for i in again if i < known]
    changed = {(10, 3): 3, (6, 3): 2, (6, 2): 0}.get((known, changed), changed)
    done = go_on(tmp_path, videos, 0.75)
    assert done == [*again, *range(known, 10)]
    which = "again", f" {unreadable} that could not be read", f" {changed} whose files have changed"
    rest = which if again else ["continuing after them"]
    says(capsys.readouterr().out, f"{path}: ", f"{known - len(again)} of 10 videos ", *rest)
    now = read(videos, ORDER, 0.75)
    expected = [new if i in done else {**new, "predictions": [{"probability": 0.25}]} for i, new in enumerate(now)]
    assert path.read_text() == "".join(map(to_line, [HEAD, *expected]))
    assert sorted(os.listdir(tmp_path)) == [path.name, "videos"]


def test_videos_of_a_missing_disk_are_read_once_it_is_back(tmp_path, path, videos, capsys):
    (tmp_path / "videos").rename(tmp_path / "away")
    assert go_on(tmp_path, videos, 0.25, 6) == [*range(6)]
    (tmp_path / "away").rename(tmp_path / "videos")
    assert go_on(tmp_path, videos, 0.75) == [*range(10)]
    which = "6 that could not be read, 0 whose files have changed"
    known = "0 of 10 videos are done already: continuing with the rest; computed again with their batches:"
    assert capsys.readouterr().out == f"{path}: {known} {which}\n"
    assert list(read_rows(path)) == read(videos, ORDER, 0.75)


def test_a_run_that_was_killed_while_it_did_batches_again_goes_on_with_them(tmp_path, path, videos):
    go_on(tmp_path, videos, 0.25)
    for i in (1, 4):
        touch(videos[i])
    assert go_on(tmp_path, videos, 0.5, BATCH) == [0, 1, 2]  # their rows are now the last in the file
    with open(path, "ab") as file:
        file.write(to_line(read(videos, [3], 0.5)[0]).encode()[:-5])
    assert go_on(tmp_path, videos, 0.75) == [3, 4, 5]
    answers = [r["predictions"][0]["probability"] for r in read_rows(path)]
    assert answers == [0.5] * 3 + [0.75] * 3 + [0.25] * 4
    assert go_on(tmp_path, videos, 1.0) == []


def test_rows_from_before_they_had_their_file_are_done_anew(tmp_path, path):
    old = [to_line({key: value for key, value in row(i).items() if key != "file"}) for i in ORDER]
    path.write_text("".join([LINES[0], *old]))
    assert run(tmp_path) == 0
    assert path.read_text() == "".join(LINES)


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

    monkeypatch.setattr(known_batches, "parsed", interrupted)
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
    """The folder stands for a remote one: its files are those that could not be uploaded."""
    path.with_name("predictions.jsonl").write_text("".join(LINES))
    with Journal(tmp_path, "predictions", HEAD, ["predictions"], undelivered=undelivered) as journal:
        journal.resume(ORDER, BATCH)
        assert journal.known.count == (10 if undelivered else 0)
    assert path.with_name("predictions.jsonl").exists() is not undelivered


def test_parts_in_another_folder_are_missed_before_anything_is_computed(tmp_path):
    class Two(World):
        def all_gather(self, value):
            return [value, value]

    with pytest.raises(RunError) as error:
        run(tmp_path, world=Two(0, 2))
    part = tmp_path / "predictions.partial.rank1.jsonl"
    says(error.value, f"{part}: ", "no such file", "--save_dir must be ")
    assert os.listdir(tmp_path) == []
    with pytest.raises(RunError) as error:
        list(Rows([part]))
    says(error.value, f"{part}: ", "No such file or directory")


def test_what_earlier_runs_have_left_unfinished_is_removed(tmp_path, path):
    for rank in (1, 12):
        part_path(tmp_path, "predictions", rank).write_text("of a run with more ranks")
    (tmp_path / "explain").mkdir()
    for name in (
        ".predictions.partial.jsonl.7.tmp",
        ".evaluation.partial.rank1.jsonl.7.tmp",
        ".predictions.json.77.tmp",
        ".features.npy.77.tmp",
        ".report.html.77.tmp",
        ".config.yaml.7.tmp",
        ".a clip.vtt.7.tmp",
        ".a\nb.labelled.mp4.7.tmp",
        "explain/.a clip_seg1.png.7.tmp",
    ):
        (tmp_path / name).write_text("of a killed run")
    (tmp_path / ".predictions.parquet.tmp").mkdir()
    (tmp_path / ".predictions.parquet.tmp" / "part-000000.parquet").touch()
    others = ["evaluation.partial.rank1.jsonl", ".TSN.pdparams.77.tmp", ".tmp", "notes.tmp", "a.labelled.mp4", "a.vtt"]
    others += [".a.mp4.7.tmp", ".a.png.7.tmp"]
    for name in others:
        (tmp_path / name).touch()
    run(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, path.name, "explain"])
    assert os.listdir(tmp_path / "explain") == []


def test_a_second_run_in_the_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    busy = f"another run is writing there (process {os.getpid()} on {socket.gethostname()}): "
    with Journal(tmp_path, "predictions", HEAD, ["predictions"]) as first:
        first.resume(ORDER, BATCH)
        first.append(map(row, range(3)))
        for name in ("predictions", "evaluation"):  # eval.py and predict.py write some files of the same name
            with pytest.raises(RunError) as error:
                Journal(tmp_path, name, HEAD, ["predictions"])
            assert str(error.value).startswith(f"--save_dir={tmp_path}: {busy}")
        first.append(map(row, range(3, 6)))
    assert run(tmp_path) == 6


def test_the_file_of_a_rank_that_has_outlived_the_first_one_is_left_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    with Journal(tmp_path, "predictions", HEAD, ["predictions"], World(1, 2)) as first:
        with pytest.raises(RunError) as error:
            Journal(tmp_path, "predictions", HEAD, ["predictions"], World(1, 2))
        assert str(error.value).startswith(f"{first.path}: another process is writing it")
        assert "another --save_dir" in str(error.value)


def test_a_run_that_waited_for_one_that_finished_begins_its_own(tmp_path):
    """The file that it waits for is renamed meanwhile."""
    journal = Journal(tmp_path, "predictions", HEAD, ["predictions"])
    journal.resume(ORDER, BATCH)
    journal.append(map(row, ORDER))
    code = "import pathlib, sys; from results.journal import Journal; print('waits', flush=True)\n"
    code += f"print(Journal(pathlib.Path(sys.argv[1]), 'predictions', {HEAD!r}, []).resume(range(10), 3))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        journal.finish()
        journal.__exit__()
        assert other.stdout.read() == "new\n"
    assert (tmp_path / "predictions.jsonl").read_text() == "".join(LINES)


def test_a_full_disk_costs_the_batch_in_hand(tmp_path, path):
    """A limit on the size of files stands for a full disk: the row that reaches it is cut."""
    limit = len("".join(LINES[:5])) + 10
    with largest_file(limit), pytest.raises(RunError) as error:
        run(tmp_path)
    says(error.value, f"{path}: ", "File too large")
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
            journal.append([{"position": 0, "video": "a", "file": None, "predictions": float("nan")}])


def final_files(folder: Path, rows: int) -> int:
    """Write the final files, and return the largest number of bytes that Python held meanwhile."""
    best = [{"class_id": k, "label": "a class", "probability": 0.1} for k in range(5)]
    with Journal(folder, "predictions", HEAD, ["predictions"]) as journal:
        journal.resume(range(rows), BATCH)
        journal.append(
            {"position": i, "video": "s3://b/a", "file": None, "predictions": best} for i in range(rows) if i % 3
        )
        journal.append({"position": i, "video": "a", "file": None, "error": "no such file"} for i in range(0, rows, 3))
        tracemalloc.start()
        try:
            assert write_predictions(folder, journal.rows()) == -(-rows // 3)
            journal.resume(range(rows), BATCH)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_the_memory_for_the_final_files_does_not_grow_with_the_list(tmp_path):
    """A row takes 2 kB as an object: 1,500 rows would take 3 MB."""
    assert final_files(tmp_path / "long", 1_500) < final_files(tmp_path / "short", 10) + 500_000


@pytest.mark.parametrize("value", [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1e22, 3])
def test_numbers_come_back_as_they_were(value):
    assert json.loads(to_line({"x": value}))["x"] == value
