"""Lists and videos in object storage: reader processes give the clip or the video's error, and leave no file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, frame_pickle, processes, says, wait_until
from object_store import answering, reply, silent, start_server
from reader.dataset import ClipSpec, VideoError, read_clip
from reader.filelist import Entry, read_list
from reader.integrity import check_file
from reader.loader import Loader
from reader.workers import WorkerProcess
from utils.errors import InputError

SPEC = ClipSpec(num_segments=3, seglen=1, short_side=36, crop_size=32)
PICKLE = ClipSpec(num_segments=3, seglen=1, short_side=36, crop_size=32, frame_format="pkl")


pytestmark = pytest.mark.usefixtures("temporary")


@pytest.fixture(scope="module")
def clips(store, workspace) -> list[tuple[str, Path]]:
    """Return (remote, local) paths of three clips."""
    return [(store.put(f"reader/my clips/{n}.mp4", path), path) for n, (path, _) in enumerate(workspace.videos[:3])]


def test_a_list_and_its_videos_give_what_local_ones_give(store, clips, temporary):
    path = store.put("reader/test.list", "".join(f"{remote} {n}\n" for n, (remote, _) in enumerate(clips)).encode())
    entries = read_list(path, num_classes=3)
    assert [(entry.path, entry.label) for entry in entries] == [(remote, n) for n, (remote, _) in enumerate(clips)]
    with Loader(entries, SPEC, 2, num_classes=3, num_workers=1) as loader:
        frames = np.concatenate([batch.frames for batch in loader.batches()])
    assert np.array_equal(frames, [read_clip(SPEC, str(local))[0] for _, local in clips])
    assert os.listdir(temporary) == []


def test_pickles(store, tmp_path, temporary):
    path = store.put("reader/frames.pkl", frame_pickle(2))
    (tmp_path / "frames.pkl").write_bytes(frame_pickle(2))
    clip, label = read_clip(PICKLE, path)
    assert np.array_equal(clip, read_clip(PICKLE, str(tmp_path / "frames.pkl"))[0]) and label == 2
    assert os.listdir(temporary) == []


@pytest.mark.parametrize(
    "key, reason",
    [
        ("none.mp4", "no such file"),
        ("empty.mp4", "the file is empty"),
        ("text.mp4", "not a video: Invalid data found when processing input"),
        ("cut.mp4", "not a video: Invalid data found when processing input"),
    ],
)
def test_the_error_names_the_remote_path(store, workspace, temporary, key, reason):
    store.put("reader/empty.mp4", b"")
    store.put("reader/text.mp4", b"no video" * 100)
    store.put("reader/cut.mp4", workspace.videos[0][0].read_bytes()[:3000])
    path = f"s3://clips/reader/{key}"
    with pytest.raises(VideoError) as error:
        read_clip(SPEC, path)
    local = temporary.parent / key
    if key != "none.mp4":
        local.write_bytes(store.get(f"reader/{key}"))
        with pytest.raises(VideoError) as expected:
            read_clip(SPEC, str(local))
        reason = expected.value.reason
    assert str(error.value) == f"{path}: {reason}" and os.listdir(temporary) == []


@pytest.mark.parametrize("key, reason", [("none", "no such file"), ("empty", "the file is empty")])
def test_a_single_video_is_looked_at_beforehand(store, clips, key, reason):
    store.put("reader/empty", b"")
    check_file(clips[0][0])
    with pytest.raises(VideoError) as error:
        check_file(f"s3://clips/reader/{key}")
    assert str(error.value) == f"s3://clips/reader/{key}: {reason}"


@pytest.mark.parametrize(
    "path, reason",
    [
        ("s3://none-such/list", "no such bucket"),
        ("s3://clips/none", "no such file"),
    ],
)
def test_a_list_that_is_not_there(store, path, reason):
    with pytest.raises(InputError) as error:
        read_list(path, num_classes=3)
    says(error.value, f"{path}: ", "the file list", reason)


def test_a_secret_in_a_list_is_refused_and_not_shown(tmp_path):
    (tmp_path / "a.list").write_text("x.mp4 0\ns3://key:word@bucket/y.mp4 1\n")
    with pytest.raises(InputError) as error:
        read_list(str(tmp_path / "a.list"), num_classes=3)
    says(error.value, f"{tmp_path}/a.list:2: ", "no credentials in a path", "in the environment")
    assert "word" not in str(error.value)


def test_a_server_that_stops_in_the_middle(store, clips, temporary):
    server, url = start_server()
    reader, path = WorkerProcess(SPEC), f"{clips[0][0]}?endpoint_override={url}"
    clip, *_ = reader.answer(path, 0, 0)
    server.stop()
    with pytest.raises(VideoError) as error:
        reader.answer(path, 0, 0)
    says(error.value, f"{path}: ", "the server", "Could not connect", "4 attempts")
    assert np.array_equal(reader.answer(clips[0][0], 0, 0)[0], clip)
    reader.kill()
    assert os.listdir(temporary) == []


def test_a_server_that_refuses_or_is_silent(store, clips, temporary):
    """Each gives its video's error within the time limit, and the other videos are read."""

    def deny(request):
        reply(request, 403)

    with answering(deny) as denied, silent() as waiting:
        paths = [f"s3://b/x{denied}", f"s3://b/x{waiting}", clips[0][0]]
        start = time.monotonic()
        with Loader([Entry(p) for p in paths], SPEC, 3, num_classes=None, num_workers=2, time_limit=3) as loader:
            [batch] = loader.batches()
        assert time.monotonic() - start < 20
    assert sorted(batch.unreadable) == [(0, "no permission (ACCESS_DENIED)"), (1, "given up after 3 s")]
    assert batch.indices == [2] and os.listdir(temporary) == []


def slow(content: bytes):
    """Return a handler that sends the first half of the content and then nothing."""

    def answer(request):
        reply(request, 200 if request.command == "HEAD" else 206, content[: len(content) // 2], len(content))
        if request.command == "GET":
            request.wfile.flush()
            time.sleep(5)

    return answer


def test_the_copy_of_a_killed_reader_is_removed(store, temporary):
    with answering(slow(bytes(20_000_000))) as server:
        reader = WorkerProcess(SPEC, time_limit=2)
        with pytest.raises(VideoError, match="given up after 2 s"):
            reader.answer(f"s3://b/x{server}", 0, 0)
    assert os.listdir(temporary) == []


PROGRAM = """
import sys
from pathlib import Path
from reader.dataset import ClipSpec
from reader.workers import WorkerProcess
if __name__ == "__main__":
    WorkerProcess(ClipSpec(3, 1, 36, 32)).answer(sys.argv[1], 0, 0)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="needs /proc")
def test_the_copy_of_a_killed_program_is_removed(store, temporary, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TSN_TEST_MARK": str(tmp_path)}
    with answering(slow(bytes(20_000_000))) as server:
        command = [sys.executable, tmp_path / "program.py", f"s3://b/x.mp4{server}"]
        with subprocess.Popen(command, env=environment) as program:
            wait_until(lambda: list(temporary.glob("*/copy.mp4")))
            os.kill(program.pid, signal.SIGKILL)
        wait_until(lambda: not processes(str(tmp_path)))
    assert os.listdir(temporary) == []
