"""Reading a stream that does not wait: dropped packets are counted, and the rest is complete."""

import itertools
import threading
import time
from contextlib import suppress
from multiprocessing import Pipe

import av
import numpy as np
import pytest

from apps.live import arriving, stream_reader
from apps.live.stream_reader import StreamEnd, StreamWindow
from conftest import free_port, make_clip, synthetic_frames, wait_until
from make_fixtures import FIXTURES
from reader.clip import ClipSpec
from stream_senders import in_real_time, over_http, over_udp, transport_stream

SPEC = ClipSpec(num_segments=3, seglen=1, short_side=36, crop_size=32)


@pytest.fixture
def parent(monkeypatch):
    """Provide a function that reads a source in a thread of this process, and returns the other end of its pipe."""
    monkeypatch.setattr(stream_reader, "limit_memory", lambda: None)
    ours, theirs = Pipe()

    def start(source: str, window: float = 0.4, stride: float = 0.4):
        threading.Thread(
            target=stream_reader.serve, args=(theirs, source, SPEC, window, stride, None), daemon=True
        ).start()
        assert ours.recv() == "ready"
        return ours

    yield start
    ours.close()


def ask(pipe) -> StreamWindow | StreamEnd:
    pipe.send([])
    assert pipe.poll(30)
    return pipe.recv()


def test_a_stream_gives_its_latest_window_and_a_file_every_one(parent, tmp_path):
    with over_http(in_real_time(transport_stream(2.5))) as address:
        pipe = parent(address)
        first = ask(pipe)
        assert (first.span.start, first.windows_dropped) == (0, 0) and first.span.clip.shape == SPEC.shape
        time.sleep(1.3)
        late = ask(pipe)
        assert late.windows_dropped >= 1
        assert late.span.start == pytest.approx(0.4 * (1 + late.windows_dropped))
        while isinstance(last := ask(pipe), StreamWindow):
            assert last.frames_dropped == 0
        assert last.opened and last.reason and last.error is None


def test_a_file_waits(parent, tmp_path):
    make_clip(tmp_path / "clip.mp4", synthetic_frames(0, 0, length=50))
    pipe = parent(str(tmp_path / "clip.mp4"))
    answers = list(itertools.takewhile(lambda answer: isinstance(answer, StreamWindow), (ask(pipe) for _ in range(9))))
    assert [round(answer.span.start, 1) for answer in answers] == [0, 0.4, 0.8, 1.2, 1.6]
    assert answers[-1].windows_dropped == 0


def test_frames_that_a_decoder_holds_until_the_end_count(parent):
    """In a file with B-frames, no packet comes with the last frames."""
    pipe = parent(str(FIXTURES / "h264.mp4"))
    *answers, ended = read_to_the_end(pipe)
    assert ended == StreamEnd(True, None) and len(answers) > 2
    assert answers[-1].frames_dropped == 0


def read_to_the_end(pipe):
    while isinstance(answer := ask(pipe), StreamWindow):
        yield answer
    yield answer


def test_a_file_shorter_than_a_window_is_one(parent, tmp_path):
    make_clip(tmp_path / "clip.mp4", synthetic_frames(0, 0, length=20))
    pipe = parent(str(tmp_path / "clip.mp4"), window=5, stride=5)
    assert ask(pipe).span.end == pytest.approx(0.8)
    assert ask(pipe) == StreamEnd(True, None)


def test_a_sender_that_stalls(parent, monkeypatch):
    monkeypatch.setattr(arriving, "SILENCE", 0.5)
    port = free_port()
    pipe = parent(f"udp://127.0.0.1:{port}")
    with over_udp(port, in_real_time(transport_stream(1))):
        while isinstance(answer := ask(pipe), StreamWindow):
            pass
    assert answer == StreamEnd(True, "nothing arrived for 0.5 s")


def test_a_sender_of_other_things(parent, monkeypatch):
    monkeypatch.setattr(stream_reader, "SILENCE", 0.5)
    garbage = bytearray(b"".join(transport_stream(3)))
    noise = np.random.default_rng(0)
    for start in range(20 * 188, len(garbage), 188):
        if not garbage[start + 1] & 0x40:  # only a frame's first packet stays valid
            garbage[start + 20 : start + 188] = noise.bytes(168)
    pieces = [bytes(garbage[start : start + 1880]) for start in range(0, len(garbage), 1880)]
    with over_http(in_real_time(itertools.cycle(pieces))) as address:
        pipe = parent(address)
        while isinstance(answer := ask(pipe), StreamWindow):
            pass
    assert answer.reason == "no frame could be decoded for 0.5 s"


@pytest.mark.parametrize("slow", [False, True])
def test_packets_that_are_too_old_are_dropped_up_to_a_key_frame(monkeypatch, slow):
    monkeypatch.setattr(arriving, "MOST_LAG", 0.3)
    with over_http(in_real_time(transport_stream(3), speed=2)) as address, av.open(address) as container:
        stream = container.streams.video[0]
        got, lag = [], 0.0
        with suppress(av.error.OSError):  # the end of a stream without a length
            for arrived in arriving.Arriving(container, stream):
                lag = max(lag, time.time() - arrived.time)
                got.append(arrived)
                if slow:
                    time.sleep(0.1)  # 5 packets arrive meanwhile
    dropped = sum(arrived.dropped for arrived in got)
    assert all(arrived.packet.is_keyframe for arrived in got if arrived.dropped)
    if slow:
        assert dropped > 20 and len(got) + dropped <= 75 and lag < 1.5
    else:
        assert (len(got), dropped) == (75, 0)


def test_waiting_bytes_are_limited(monkeypatch):
    monkeypatch.setattr(arriving, "MOST_BYTES", 100_000)
    with over_http(transport_stream(3)) as address, av.open(address) as container:
        arrivals = arriving.Arriving(container, container.streams.video[0])
        wait_until(lambda: arrivals._ended)
        got = []
        with suppress(av.error.OSError):
            got.extend(arrivals)
    assert sum(arrived.packet.size for arrived in got) < 100_000 and got[0].packet.is_keyframe and got[0].dropped
