"""live.py on real streams of this machine: its windows, its delay, and senders that break or send garbage."""

import itertools
import json
import os
import re
import signal
from pathlib import Path

import av
import numpy as np
import pytest

from apps.live.addresses import check_source, shown
from conftest import LABELS, free_port, make_clip, processes, run_script, says, synthetic_frames, wait_until
from fork_server import start_python
from stream_senders import in_real_time, over_http, over_udp, transport_stream
from utils.errors import InputError


class Live:
    """A running live.py. A context manager."""

    def __init__(self, workspace, folder: Path, source: str, *flags: str):
        self.folder, self.mark = folder, f"live-{os.urandom(8).hex()}"
        self._logs = folder / "stdout.txt", folder / "stderr.txt"
        flags = f"--source={source}", f"--save_dir={folder}", "--window=1", "--stride=0.5", *flags
        environment = {**os.environ, "TSN_TEST_MARK": self.mark}
        self.process = start_python(["live.py", workspace.config, workspace.weights, *flags], environment, *self._logs)

    def watches(self) -> "Live":
        """Wait until it is about to open the source."""
        wait_until((self.folder / "live.jsonl").exists, 60)
        return self

    @property
    def lines(self) -> list[dict]:
        path = self.folder / "live.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def windows(self, number: int) -> list[dict]:
        """Wait for this many windows, and return their lines."""

        def seen() -> list[dict]:
            assert self.process.poll() is None, self.said()
            found = [line for line in self.lines if "answer" in line]
            return found if len(found) >= number else []

        return wait_until(seen, 60)

    def said(self) -> list[str]:
        """Return its stdout and stderr."""
        return [path.read_text() for path in self._logs]

    def ends(self, number: int, code: int) -> list[str]:
        self.process.send_signal(number)
        assert self.process.wait(30) == code, self.said()
        wait_until(lambda: not processes(self.mark))
        return self.said()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def test_the_windows_of_a_file_are_those_of_predict(workspace, tmp_path):
    clip = tmp_path / "clip.mp4"
    make_clip(clip, np.concatenate([synthetic_frames(label, 1, length=40) for label in range(3)]))  # 4.8 s
    flags = [workspace.config, workspace.weights, "--window=2", "--stride=1", "--report=False"]
    predicted = run_script("predict", *flags, f"--video_path={clip}", f"--save_dir={tmp_path / 'p'}")
    assert predicted.returncode == 0, predicted.stderr
    timeline = json.loads((tmp_path / "p" / "timeline.json").read_text())
    live = run_script("live", *flags[:-1], f"--source={clip}", f"--save_dir={tmp_path / 'l'}", "--threshold=0.9999")
    assert (live.returncode, live.stderr) == (0, "")
    lines = [json.loads(line) for line in (tmp_path / "l" / "live.jsonl").read_text().splitlines()]
    whole = [one for one in timeline if one["end"] - one["start"] > 1.99]
    assert len(lines) == len(whole) == 3
    for line, one in zip(lines, whole):
        assert line["stream_time"] == [one["start"], one["end"]]
        for mine, theirs in zip(line["predictions"], one["predictions"], strict=True):
            assert mine == {**theirs, "probability": pytest.approx(theirs["probability"], abs=1e-6)}
        assert line["answer"] == "none" and line["frames_dropped"] == line["windows_dropped"] == 0
    assert re.search(r"^\[LIVE .+\] 0:00\.0 to 0:02\.0  none \(.+ \d+\.\d%\)?.*; \d\.\d\d s behind$", live.stdout, re.M)
    assert live.stdout.endswith(f"{clip} has ended after 3 windows\n")


def test_a_stream_over_http_that_breaks_is_opened_again(workspace, tmp_path):
    endless = itertools.chain(transport_stream(4), itertools.repeat(b""))
    with (
        over_http(in_real_time(transport_stream(3, label=1)), in_real_time(endless)) as address,
        Live(workspace, tmp_path, address.replace("://", "://me:secret@"), "--save_video=True") as live,
    ):
        first = live.windows(4)
        assert [line["stream_time"] for line in first] == [[0, 1], [0.5, 1.5], [1, 2], [1.5, 2.5]]
        assert all(line["connection"] == 1 and line["answer"] in LABELS for line in first)
        assert max(line["delay"] for line in first) < 2  # seconds; the machine may be busy
        wait_until(lambda: [line for line in live.lines if line.get("event") == "broken"], 20)
        live.windows(len(live.lines) + 1)
        out, errors = live.ends(signal.SIGTERM, 143)
    assert errors == "terminated\n" and "secret" not in out
    broke = r"http://\*\*\*@127\S+ broke: the (stream ended|connection was lost .+); opening it again in 1 s"
    assert re.search(rf"^\[LIVE .+\] {broke}$", out, re.M)
    assert live.lines[-1]["connection"] == 2
    for name, seconds in (("live.mp4", 2.9), ("live_2.mp4", 0.9)):
        with av.open(str(tmp_path / name)) as recorded:
            frames = list(recorded.decode(video=0))
        assert (frames[0].width, frames[0].height) == (96, 72) and frames[-1].time >= seconds


def test_udp_with_garbage_another_size_and_a_kill(workspace, tmp_path):
    port, noise = free_port(), np.random.default_rng(0).integers(0, 256, 7 * 188 * 4, dtype=np.uint8).tobytes()
    parts = transport_stream(4), [noise] * 3, transport_stream(60, size=(64, 48))
    source = f"udp://127.0.0.1:{port}"
    sent = in_real_time(itertools.chain([noise] * 5, *parts))
    with Live(workspace, tmp_path, source, "--save_video=True").watches() as live, over_udp(port, sent):
        wait_until((tmp_path / "live_2.mp4").exists, 30)
        live.windows(6)
        live.ends(signal.SIGKILL, -signal.SIGKILL)
    before = (tmp_path / "live.jsonl").read_bytes()
    assert len(live.lines) >= 6  # each line is whole
    with av.open(str(tmp_path / "live.mp4")) as recorded:
        assert len(list(recorded.decode(video=0))) >= 25
    (tmp_path / "live.jsonl").write_bytes(before + b'{"stream_time": [0.')
    with Live(workspace, tmp_path, source) as live, over_udp(port, in_real_time(transport_stream(20))):
        wait_until(lambda: (tmp_path / "live.jsonl").read_bytes().count(b"\n") > before.count(b"\n"), 60)
        live.ends(signal.SIGINT, 130)
    assert (tmp_path / "live.jsonl").read_bytes().startswith(before) and live.lines


WRONG = [
    (None, ["--source ", "missing", "expected a camera's number"]),
    ("", ["--source ", "missing", "expected a camera's number"]),
    ("rtmp://h/x", ["--source=rtmp://h/x: ", "rtmp:// ", "expected a camera's number"]),
    ("file:///etc/passwd", ["--source=file:///etc/passwd: ", "file:// ", "expected a camera's number"]),
    ("987", ["--source=987: ", "no such camera"]),
    ("nothing.mp4", ["--source=nothing.mp4: ", "no such file", "expected "]),
    ("rtmp://me:pw@h/x\ny", ["--source=rtmp://***@h/x y: ", "rtmp:// ", "expected a camera's number"]),
]


@pytest.mark.parametrize("source, pieces", WRONG)
def test_a_wrong_source_is_one_line(source, pieces):
    with pytest.raises(InputError) as error:
        check_source(source)
    says(error.value, *pieces)


UNREADABLE = [
    ("http://me:pw@127.0.0.1:9/x", "error: --source=http://***@127.0.0.1:9/x: ", "Connection refused"),
    ("README.md", "error: --source=README.md: ", "not a readable video file"),
]


@pytest.mark.parametrize("source, place, reason", UNREADABLE)
def test_a_source_that_cannot_be_opened_is_one_line(workspace, tmp_path, source, place, reason):
    ended = run_script("live", workspace.config, workspace.weights, f"--source={source}", f"--save_dir={tmp_path}")
    assert ended.returncode == 2, ended.stderr
    says(ended.stderr, place, reason)


def test_a_playlist_opens_nothing(workspace, tmp_path):
    secret = tmp_path / "clip.mp4"
    make_clip(secret, synthetic_frames(0, 0, length=50))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode()
    with over_http([playlist]) as address:
        source = f"--source={address}.m3u8"
        ended = run_script("live", workspace.config, workspace.weights, source, f"--save_dir={tmp_path}")
    assert ended.returncode == 2, ended.stderr
    says(ended.stderr, f"error: {source}: ", "playlists (HLS, DASH)", "not followed")
    assert not (tmp_path / "live.jsonl").read_bytes()


def test_names_and_passwords_are_not_shown():
    assert shown("rtsp://admin:p@ss@camera/1?a=b@c") == "rtsp://***@camera/1?a=b@c"
    assert shown("udp://239.0.0.1:5000") == "udp://239.0.0.1:5000"
