"""data/reencode.py and long lists: names that stay distinct, few jobs at a time, measurements."""

import os
import shutil
from pathlib import Path

import pytest

from data import reencode
from data.copies import encoders
from data.copies.encoding import Job, Settings, target_of
from make_fixtures import FIXTURES
from reader.filelist import Entry, FileList
from stream_work import Greedy

SETTINGS = Settings(48, 12, 23, "veryfast")


@pytest.mark.parametrize("source, expected", [
    ("/videos/a class/clip 1.webm", "out/a class/clip 1-7a3d68aa12962966.mp4"),
    ("/a/../videos//a class/clip 1.webm", "out/a class/clip 1-7a3d68aa12962966.mp4"),
    ("/v/" + "x" * 70 + ".tar.mp4", "out/v/" + "x" * 50 + "-4d88fdc69dc3bb36.mp4"),
    ("/v/" + os.fsdecode(b"\xff.mp4"), "out/v/" + os.fsdecode(b"\xff") + "-7f6b78e3bcea178d.mp4"),
])  # fmt: skip
def test_where_a_video_goes(source, expected):
    assert target_of(Path("out"), source) == Path(expected)


def test_videos_of_one_name_have_different_copies():
    # The SHA-256 of both paths begins with 398fa6ce.
    assert len({target_of(Path("out"), f"/v/{i}/clips/v.mp4") for i in (17260, 50056)}) == 2


def test_jobs_are_made_of_the_list_when_they_are_asked_for():
    entries = FileList([Entry("/v/a.mp4", 1), Entry("/v/b.mp4", 2), Entry("/v/a.mp4", 3), Entry("/v/c.mp4")])
    positions = reencode.distinct(entries)
    assert list(positions) == [0, 1, 3]
    jobs = reencode.Jobs(entries, positions[1:], Path("out"), SETTINGS)
    assert list(jobs) == [Job(f"/v/{n}.mp4", target_of(Path("out"), f"/v/{n}.mp4"), SETTINGS) for n in "bc"]


def test_few_jobs_of_a_long_list_exist_at_a_time(monkeypatch):
    drawn, answered, ahead = [], [], []

    class Encoder:
        """Stands for a process, and answers at once."""

        def __init__(self, *_, **how):
            self.close = self.kill = lambda: None

        def failure(self, source: str, job: Job) -> str | None:
            ahead.append(len(drawn) - len(answered))
            answered.append(job)
            return "broken" if source.endswith("8.mp4") else None

    class Jobs(reencode.Jobs):
        def __getitem__(self, i: int) -> Job:
            drawn.append(i)
            return super().__getitem__(i)

    monkeypatch.setattr(encoders, "VideoProcess", Encoder)
    names = [f"/videos/{i}.mp4" for i in range(2000)]
    jobs = Jobs(FileList(map(Entry, names)), range(2000), Path("out"), SETTINGS)
    unreadable = reencode.reencode_all(jobs, workers=3)
    assert unreadable == {n: "broken" for n in names if n[-5] == "8"}
    assert {job.source for job in answered} == set(names) and len(answered) == 2000
    assert max(ahead) <= 6  # two per process


def test_a_video_that_needs_too_much_memory_costs_no_other(tmp_path):
    source = str(FIXTURES / "h264.mp4")
    greedy = shutil.copy(source, tmp_path / "greedy.mp4")
    jobs = [Job(str(greedy), tmp_path / "a.mp4", Greedy()), Job(source, tmp_path / "b.mp4", SETTINGS)]
    assert encoders.reencode_all(jobs, workers=1) == {str(greedy): "it takes more memory than there is"}
    assert [path.name for path in tmp_path.iterdir() if path.stem in "ab"] == ["b.mp4"]


def test_the_table_of_unreadable_videos_has_the_order_of_the_list(tmp_path):
    entries = FileList(Entry(f"/v/{n}.mp4", 4) for n in "caba")
    reencode.write_lists(tmp_path / "x.list", entries, Path("out"), {"/v/a.mp4": "broken", "/v/c.mp4": "gone, too"})
    assert (tmp_path / "x.unreadable.csv").read_text() == 'video,error\n/v/c.mp4,"gone, too"\n/v/a.mp4,broken\n'
    assert (tmp_path / "x.list").read_text() == f"{target_of(Path('out'), '/v/b.mp4').as_posix()} 4\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe to hang at")
def test_the_last_measurement_survives_its_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "READING_LIMIT", 1)
    os.mkfifo(tmp_path / "hangs.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    shutil.copy(FIXTURES / "h264.mp4", tmp_path / "good.mp4")
    jobs = [Job(str(tmp_path / f"{n}.mp4"), FIXTURES / "h264.mp4", SETTINGS) for n in ("hangs", "broken", "good")]
    [(before, after)] = encoders.reading_times(jobs)
    assert 0 < before < 10 and 0 < after < 10
