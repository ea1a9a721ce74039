"""data/reencode.py: the same frames, small and with frequent key frames; whole files only; the new list and table."""

import contextlib
import csv
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, processes, run_script, says, wait_until
from data import reencode
from data.copies import encoders, encoding
from fork_server import ForkedProcess, start_python
from make_fixtures import FIXTURES, read_number
from reader.decode import VideoError, read_frames
from utils.errors import RunError

SOURCES = {
    "a b/x y.mp4": "h264.mp4",
    "c/x y.mp4": "rotated_90.mp4",
    "c/large.ts": "large.ts",
    "c/odd.webm": "vp9_odd.webm",
    "c/cut.mkv": "open_gop_cut.mkv",
    "d/x y.mp4": "edit_list.mp4",
}


def make_sources(folder: Path) -> Path:
    """Return a list of readable videos of all kinds, with one of them twice, and of three unreadable ones."""
    for name, fixture in SOURCES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(FIXTURES / fixture, folder / name)
    (folder / "c/junk.mp4").write_bytes(b"no video")
    (folder / "c/short.mp4").write_bytes((FIXTURES / "h264.mp4").read_bytes()[:3000])
    lines = [f"{name} {label}" for label, name in enumerate(SOURCES)]
    lines[3:3] = ["c/junk.mp4 0", "c/short.mp4 1", "c/large.ts 7", "c/missing one.mp4 2"]
    (folder / "train.list").write_text("\n".join(lines) + "\n")
    return folder / "train.list"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Provide a folder with the list re-encoded to out/, and the ended process."""
    folder = tmp_path_factory.mktemp("reencode")
    make_sources(folder)
    return folder, run_script("data/reencode", "train.list", "--out", "out", "--short_side", "48", cwd=folder)


def read_new_list(folder: Path) -> list[tuple[str, str]]:
    return [tuple(line.rsplit(" ", 1)) for line in (folder / "out/train.list").read_text().splitlines()]


def test_the_new_list_keeps_order_and_labels(done):
    folder, result = done
    assert result.returncode == 0, result.stderr
    rows = read_new_list(folder)
    assert [label for _, label in rows] == ["0", "1", "2", "7", "3", "4", "5"]
    assert rows[2][0] == rows[3][0] and len({path for path, _ in rows}) == 6
    assert rows[0][0].startswith("out/a b/x y-") and rows[1][0].startswith("out/c/x y-")
    assert {str(path.relative_to(folder)) for path in folder.glob("out/*/*")} == {path for path, _ in rows}


def test_the_table_names_what_cannot_be_read(done):
    folder, result = done
    with open(folder / "out/train.unreadable.csv", newline="") as file:
        rows = sorted(csv.reader(file))
    assert rows == [
        ["c/junk.mp4", "not a readable video file"],
        ["c/missing one.mp4", "no such file"],
        ["c/short.mp4", "not a readable video file"],
        ["video", "error"],
    ]
    assert "out/train.list: 6 videos (6 re-encoded now, 0 there already), 3 unreadable" in result.stdout
    assert "out/train.unreadable.csv: the unreadable videos, with the reason" in result.stdout


def test_the_summary_tells_sizes_and_speeds(done):
    lines = done[1].stdout.splitlines()
    assert lines[-2].startswith("size: 0.1 -> 0.1 MB (")
    assert lines[-1].startswith("reading 3 frames: ") and lines[-1].endswith("x, 6 videos tried)")


def test_frame_n_stays_frame_n(done):
    folder, _ = done
    for (path, _), fixture in zip(read_new_list(folder), ["h264.mp4", "rotated_90.mp4", "large.ts"]):
        frames = read_frames(str(folder / path), range)
        upright = frames.swapaxes(1, 2)[:, :, ::-1] if fixture == "rotated_90.mp4" else frames  # turned back
        assert frames.shape == (60, 64, 48, 3) if fixture == "rotated_90.mp4" else (60, 48, 64, 3)
        assert [read_number(frame) for frame in upright] == list(range(60))


def test_what_is_written(done):
    folder, _ = done
    starts = {"odd": 0, "cut": 20, "x y": 0}
    for path in folder.glob("out/*/*.mp4"):
        with av.open(str(path)) as file:
            assert [stream.type for stream in file.streams] == ["video"]
            stream = file.streams.video[0]
            assert stream.codec_context.name == "h264" and stream.average_rate == 25
            assert stream.width % 2 == stream.height % 2 == 0 and min(stream.width, stream.height) == 48
            keys = [i for i, packet in enumerate(file.demux(stream)) if packet.is_keyframe]
        assert keys[0] == 0 and all(b - a <= 12 for a, b in zip(keys, keys[1:]))
        if path.stem.startswith(("odd", "cut")):
            frames = read_frames(str(path), range)
            assert [read_number(frame) for frame in frames] == list(range(starts[path.stem[:3]], 60))


def test_again_it_makes_nothing_and_clears_what_was_left(done):
    folder, _ = done
    before = {path: path.stat().st_mtime_ns for path in folder.glob("out/*/*.mp4")}
    (folder / "out/c/.x.mp4.1.tmp").write_bytes(b"half")
    result = run_script("data/reencode", "train.list", "--out", "out", "--short_side", "48", cwd=folder)
    assert result.returncode == 0 and "(0 re-encoded now, 6 there already), 3 unreadable" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.glob("out/*/*")} == before


def test_sources_may_be_gone_and_labels_missing(done, tmp_path):
    folder, _ = done
    shutil.copytree(folder / "out", tmp_path / "out")
    shutil.copytree(folder / "a b", tmp_path / "a b")
    (tmp_path / "infer.list").write_text("a b/x y.mp4\n")
    flags = ["infer.list", "--out", "out", "--short_side", "48"]
    assert "(1 re-encoded now, 0 there" in run_script("data/reencode", *flags, cwd=tmp_path).stdout
    shutil.rmtree(tmp_path / "a b")
    result = run_script("data/reencode", *flags, cwd=tmp_path)
    assert result.stdout == "out/infer.list: 1 videos (0 re-encoded now, 1 there already), 0 unreadable\n"
    (line,) = (tmp_path / "out/infer.list").read_text().splitlines()
    assert line.endswith(".mp4") and (tmp_path / line).exists()


def test_copies_of_replaced_and_of_repaired_sources_are_made_anew(tmp_path):
    for number in range(4):
        make_video(tmp_path / f"v/{number}.mp4", 32, 32, 5)
    (tmp_path / "all.list").write_text("".join(f"v/{number}.mp4 {number}\n" for number in range(4)))
    whole, out = (tmp_path / "v/3.mp4").read_bytes(), tmp_path / "out"
    (tmp_path / "v/3.mp4").write_bytes(whole[:100])

    def run() -> str:
        return run_script("data/reencode", "all.list", "--out", "out", "--workers", "1", cwd=tmp_path).stdout

    def frames(number: int) -> int:
        (path,) = out.glob(f"v/{number}-*.mp4")
        return len(read_frames(str(path), range))

    assert "(3 re-encoded now, 0 there already), 1 unreadable\n" in run()
    (tmp_path / "v/3.mp4").write_bytes(whole)
    make_video(tmp_path / "new.mp4", 32, 32, 7)
    os.utime(tmp_path / "new.mp4", (1e9, 1e9))  # older than the copy, but another file
    os.replace(tmp_path / "new.mp4", tmp_path / "v/0.mp4")
    (tmp_path / "v/1.mp4").unlink()  # its copy stays
    said = run()
    assert said.startswith("out: 1 copies are made again, because their sources have changed\n")
    assert "(2 re-encoded now, 2 there already), 0 unreadable\n" in said
    assert [frames(number) for number in range(4)] == [7, 5, 5, 5]
    assert "(0 re-encoded now, 4 there already)" in run()

    # The folder of a run that was killed after a copy, before it noted the source.
    (out / "reencode.jsonl").unlink()
    os.utime(tmp_path / "v/2.mp4", (2**31, 2**31))
    said = run()
    assert said.startswith("out: 1 copies are made again") and "(1 re-encoded now, 3 there already)" in said
    assert (out / "reencode.jsonl").read_text().count("\n") == 4  # the settings and three sources


@pytest.mark.parametrize("flags, code, pieces", [
    (["none.list", "--out", "new"], 2, ["none.list: ", "no such file list"]),
    (["train.list", "--out", "."], 2, ["--out .: ", "would replace train.list", "another folder"]),
    (["train.list", "--out", "c"], 2, ["--out c: ", "not made by this script", "a new folder"]),
    (["train.list", "--out", "out"], 2, ["--out out: ", "other settings", '{"short_side": 48, "keyint": 12, "crf": 23, '
     '"preset": "medium"}', "a new folder"]),
    (["train.list", "--out", "new", "--keyint", "0"], 2,
     ["--keyint: ", "from 1 up", "not '0'", "see python data/reencode.py --help"]),
    (["train.list"], 2, ["the following arguments are required: ", "--out", "see python data/reencode.py --help"]),
    (["bad.list", "--out", "new"], 1, ["bad.list: ", "none of its videos", "see new/bad.unreadable.csv"]),
])  # fmt: skip
def test_mistakes(done, flags, code, pieces):
    folder, _ = done
    (folder / "bad.list").write_text("c/junk.mp4 1\n")
    result = run_script("data/reencode", *flags, cwd=folder)
    assert result.returncode == code
    says(result.stderr.splitlines()[-1], "error: " + pieces[0], *pieces[1:])
    assert code == 1 or not (folder / "new").exists()


def make_video(path: Path, width: int, height: int, num_frames: int, noise: bool = False) -> None:
    path.parent.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        picture = np.zeros((height, width, 3), np.uint8)
        for _ in range(num_frames):
            picture = random.integers(0, 256, picture.shape, np.uint8) if noise else picture
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))


def start(folder: Path, real: bool, *flags: str) -> subprocess.Popen | ForkedProcess:
    """Return a run over the videos in v/. Its processes have the folder's name in their environment."""
    names = sorted(path.name for path in (folder / "v").iterdir())
    (folder / "all.list").write_text("".join(f"v/{name} {i}\n" for i, name in enumerate(names)))
    command = [str(ROOT / "data/reencode.py"), "all.list", "--out", "out", *flags]
    return start_python(command, {**os.environ, "MARK": str(folder)}, folder / "log", cwd=folder, real=real)


needs_proc = pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")


@needs_proc
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_run_leaves_whole_videos_and_no_process(number, code, tmp_path):
    make_video(tmp_path / "v/0.mp4", 320, 240, 100)
    for i in range(1, 40):
        shutil.copy(tmp_path / "v/0.mp4", tmp_path / f"v/{i}.mp4")
    process = start(tmp_path, number == signal.SIGINT, "--preset", "veryfast")
    wait_until(lambda: list(tmp_path.glob("out/v/*.mp4")))
    process.send_signal(number)
    assert process.wait(60) == code
    # After a kill, a starting process may complain that its parent is gone.
    assert code == -9 or "Traceback" not in (tmp_path / "log").read_text()
    wait_until(lambda: not processes(str(tmp_path)))
    written = list(tmp_path.glob("out/v/*.mp4"))
    assert 0 < len(written) < 40
    assert {len(read_frames(str(path), range)) for path in written} == {100}
    assert not (tmp_path / "out/all.list").exists()


# Frames of noise take 0.15 s each. With frequent key frames x264 begins to write at once.
SLOW = ("--short_side", "360", "--keyint", "2", "--crf", "10", "--preset", "veryslow")


@pytest.fixture(scope="module")
def slow_video(tmp_path_factory) -> Path:
    """Provide a video that takes ten seconds or more to encode with SLOW."""
    path = tmp_path_factory.mktemp("slow") / "slow.mp4"
    make_video(path, 640, 360, 80, noise=True)
    return path


@needs_proc
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_run_stopped_in_the_middle_of_long_videos_leaves_no_process(number, code, slow_video, tmp_path):
    (tmp_path / "v").mkdir()
    for i in range(3):
        shutil.copy(slow_video, tmp_path / f"v/{i}.mp4")
    process = start(tmp_path, number == signal.SIGINT, *SLOW, "--workers", "2")
    try:
        wait_until(lambda: len(list(tmp_path.glob("out/v/.*.tmp"))) == 2)  # both are at work
        process.send_signal(number)
        assert process.wait(60) == code
        wait_until(lambda: not processes(str(tmp_path)), seconds=30)
    finally:
        for pid in [process.pid, *processes(str(tmp_path))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def slow_job(source: Path, out: Path) -> reencode.Job:
    return reencode.Job(str(source), out / "slow.mp4", reencode.Settings(360, 2, 10, "veryslow"))


def fast_job(out: Path) -> reencode.Job:
    return reencode.Job(str(FIXTURES / "large.ts"), out / "fast.mp4", reencode.Settings(48, 12, 23, "veryfast"))


def send(number: int, folder: Path, times: int = 1) -> None:
    """Send a signal to the process that writes a video into the folder, and then to its successors."""
    sent: set[int] = set()
    for _ in range(times):
        writers = wait_until(lambda: {int(path.name.split(".")[-2]) for path in folder.glob(".*.tmp")} - sent)
        sent.update(writers)
        for pid in writers:
            os.kill(pid, number)


def reencode_under(signal_number: int, times: int, jobs: list[reencode.Job]) -> dict[str, str]:
    """Return the result of `reencode_all` with one process that gets a signal at the first job."""
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(send, signal_number, jobs[0].target.parent, times)
        unreadable = reencode.reencode_all(jobs, workers=1)
        sending.result()
    assert not multiprocessing.active_children()
    return unreadable


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal")
def test_a_stuck_video_is_given_up_and_the_next_gets_a_new_process(slow_video, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "TIME_LIMIT", 5)
    jobs = [slow_job(slow_video, tmp_path / "a"), fast_job(tmp_path / "b")]
    assert reencode_under(signal.SIGSTOP, 1, jobs) == {str(slow_video): "given up after 5 s"}
    assert not jobs[0].target.exists() and len(read_frames(str(jobs[1].target), range)) == 60


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_a_process_that_dies_is_replaced_and_tries_again(tmp_path):
    make_video(tmp_path / "v/a.mp4", 320, 240, 30, noise=True)
    jobs = [slow_job(tmp_path / "v/a.mp4", tmp_path / "a"), fast_job(tmp_path / "b")]
    assert reencode_under(signal.SIGKILL, 1, jobs) == {}
    assert [len(read_frames(str(job.target), range)) for job in jobs] == [30, 60]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_a_process_that_dies_twice_costs_no_other_video(slow_video, tmp_path):
    jobs = [slow_job(slow_video, tmp_path / "a"), fast_job(tmp_path / "b")]
    reason = "its encoder process ended with signal 9 (Killed), twice"
    assert reencode_under(signal.SIGKILL, 2, jobs) == {str(slow_video): reason}
    assert not jobs[0].target.exists() and len(read_frames(str(jobs[1].target), range)) == 60


def test_a_fault_of_no_video_ends_the_run(slow_video, tmp_path):
    (tmp_path / "file").touch()
    jobs = [slow_job(slow_video, tmp_path), fast_job(tmp_path / "file")]
    with pytest.raises(RunError, match=r"large\.ts: (FileExistsError|NotADirectoryError): .*file"):
        reencode.reencode_all(jobs, workers=2)
    assert not multiprocessing.active_children()


def test_a_damaged_video_leaves_nothing(tmp_path):
    data = bytearray((FIXTURES / "mpeg4.avi").read_bytes())
    data[15_000:18_000] = bytes(3000)
    (tmp_path / "a.avi").write_bytes(data)
    job = reencode.Job(str(tmp_path / "a.avi"), tmp_path / "out/a.mp4", reencode.Settings(48, 12, 23, "medium"))
    with pytest.raises(VideoError, match="damaged: frame"):
        encoding.reencode(job)
    assert not list(tmp_path.glob("out/*"))


def test_folders_of_frames_become_videos(tmp_path):
    frames = read_frames(str(FIXTURES / "h264.mp4"), range)[:30]
    for folder, number in (("p/a", 30), ("p/torn", 8), ("p/sizes", 3)):
        (tmp_path / folder).mkdir(parents=True)
        for i, frame in enumerate(frames[:number]):
            Image.fromarray(frame).save(tmp_path / folder / f"{i + 1:03}.png")
    (tmp_path / "p/torn/004.png").unlink()
    Image.fromarray(frames[0][1:]).save(tmp_path / "p/sizes/003.png")
    (tmp_path / "x.list").write_text("a 30 2\ntorn 8 1\nsizes 3 0\n")
    how = ["x.list", "--out=out", "--fps=12.5", "--filename_tmpl={:03}.png", "--data_prefix=p", "--crf=5"]
    ended = run_script("data/reencode", *how, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    [(video, label)] = [line.rsplit(" ", 1) for line in (tmp_path / "out/x.list").read_text().splitlines()]
    assert label == "2" and video.startswith("out/p/a-")
    written = read_frames(str(tmp_path / video), range)
    assert [read_number(frame) for frame in written] == list(range(30))
    with av.open(str(tmp_path / video)) as file:
        assert file.streams.video[0].average_rate == 12.5
    assert list(csv.reader((tmp_path / "out/x.unreadable.csv").read_text().splitlines()))[1:] == [
        ["p/torn", "frame 004.png: No such file or directory"],
        ["p/sizes", "its frames differ in size"],
    ]
    assert re.search(r"size: 0\.\d -> 0\.\d MB .*\nreading 3 frames: .*, 1 videos tried\)\n$", ended.stdout)
    (tmp_path / "p/torn/004.png").symlink_to("005.png")
    again = run_script("data/reencode", *how, cwd=tmp_path)
    assert "out/x.list: 2 videos (1 re-encoded now, 1 there already), 1 unreadable" in again.stdout
