"""Frame pickles as Python 2 and 3 write them, and files that are refused."""

import io
import os
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from conftest import says
from reader import pkl
from reader.decode import VideoError
from reader.pkl import read_pickle


def jpeg(level: int, width: int = 32, height: int = 24, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), (level,) * len(mode) if len(mode) > 1 else level).save(file, "JPEG")
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


JPEGS = [jpeg(level) for level in range(0, 200, 20)]


def python2_pickle(video: str, label: int, jpegs: list[bytes]) -> bytes:
    """Return what cPickle of Python 2 writes with its highest protocol."""

    def string(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    frames = b"]q\x01(" + b"".join(map(string, jpegs)) + b"e"
    return b"\x80\x02" + string(video.encode()) + b"K" + bytes([label]) + frames + b"\x87q\x02."


@pytest.mark.parametrize(
    "content",
    [*(pickle.dumps(("v", 3, JPEGS), protocol) for protocol in (1, 2, 3, 4, 5)),
     pickle.dumps([b"v", 3, JPEGS], 2), python2_pickle("v", 3, JPEGS)],
    ids=["1", "2", "3", "4", "5", "list", "Python 2"],
)  # fmt: skip
def test_the_chosen_frames_and_the_label(tmp_path, content):
    path = tmp_path / "v.pkl"
    path.write_bytes(content)
    counts = []

    def choose(count):
        counts.append(count)
        return [7, 0, 7]

    frames, label = read_pickle(str(path), choose)
    assert counts == [10] and label == 3
    assert frames.dtype == np.uint8 and frames.shape == (3, 24, 32, 3)
    assert all((frame == decoded(JPEGS[i])).all() for frame, i in zip(frames, [7, 0, 7]))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_become_rgb(tmp_path, mode):
    data = jpeg(100, mode=mode)
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(("v", 0, [data])))
    frames, _ = read_pickle(str(tmp_path / "v.pkl"), lambda n: [0])
    assert (frames[0] == decoded(data)).all()


class Hostile:
    def __reduce__(self):
        return os.system, ("touch HACKED",)


WRONG = "not a frame pickle: expected (video id, label, [JPEG bytes])"
NO_JPEG = "frame 0 is not a readable JPEG"
CASES = {
    "empty": (b"", "not a frame pickle: it is damaged (ValueError)"),
    "a video": (b"\0\0\0\x18ftypmp42", "not a frame pickle: it is damaged (ValueError)"),
    "truncated": (pickle.dumps(("v", 3, JPEGS))[:-100], "not a frame pickle: it is damaged (ValueError)"),
    "hostile": (
        pickle.dumps(("v", 3, [Hostile()])),
        "not a frame pickle: it calls 'posix.system'",
    ),
    "frames only": (pickle.dumps(JPEGS), WRONG),
    "a dictionary": (pickle.dumps({"label": 3}), WRONG),
    "two items": (pickle.dumps(("v", 3)), WRONG),
    "the label is text": (pickle.dumps(("v", "3", JPEGS)), WRONG),
    "the label is a truth": (pickle.dumps(("v", True, JPEGS)), WRONG),
    "the label is in no array": (pickle.dumps(("v", 2**70, JPEGS)), "its label has more than 18 digits"),
    "the label is negative": (pickle.dumps(("v", -(2**70), JPEGS)), "its label has more than 18 digits"),
    "the label has 5000 digits": (pickle.dumps(("v", 10**5000, JPEGS)), "its label has more than 18 digits"),
    "no frames": (pickle.dumps(("v", 3, [])), WRONG),
    "frames in a string": (pickle.dumps(("v", 3, JPEGS[0])), WRONG),
    "numbers": (pickle.dumps(("v", 3, [1, 2])), f"{NO_JPEG}: its type is int"),
    "text": (
        pickle.dumps(("v", 3, ["影"])),
        f"{NO_JPEG}: 'latin-1' codec",
    ),
    "no JPEG": (pickle.dumps(("v", 3, [b"\x89PNG\r\n"])), NO_JPEG),
    "a truncated JPEG": (pickle.dumps(("v", 3, [jpeg(3, 320, 240)[:-200]])), f"{NO_JPEG}: image file is truncated"),
    "sizes": (pickle.dumps(("v", 3, [jpeg(0), jpeg(0, 16, 16)])), "its frames differ in size"),
    "a huge string": (b"\x80\x04\x8e" + struct.pack("<Q", 2**40), "not a frame pickle: it is damaged (ValueError)"),
    "a huge memo": (b"\x80\x02]r\xff\xff\xff\x7f.", WRONG),
}  # fmt: skip


@pytest.mark.parametrize("content, reason", CASES.values(), ids=CASES)
def test_what_is_no_frame_pickle(tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.pkl").write_bytes(content)
    with pytest.raises(VideoError) as error:
        read_pickle("v.pkl", lambda n: [0, n - 1])
    assert error.value.path == "v.pkl"
    says(error.value.reason, reason)
    if not any(word in reason for word in ("truncated", "codec", "it calls")):  # they go on in a library's words
        assert error.value.reason == reason
    assert [path.name for path in tmp_path.iterdir()] == ["v.pkl"]


def test_missing_and_huge(tmp_path, monkeypatch):
    for path, reason in ((tmp_path / "no.pkl", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(VideoError) as error:
            read_pickle(str(path), lambda n: [0])
        says(error.value, f"{path}: ", reason)
    monkeypatch.setattr(pkl, "MAX_BYTES", 1000)
    (tmp_path / "v.pkl").write_bytes(b"\0" * 1001)
    with pytest.raises(VideoError, match="not a frame pickle: larger than 1000 bytes"):
        read_pickle(str(tmp_path / "v.pkl"), lambda n: [0])
