"""Lists, labels, configurations and manifests that nobody writes in good faith."""

import json
import os
import time

import pytest

from reader.class_names import read_labels
from reader.filelist import Entry, read_list
from training.checkpoint import Progress, find_checkpoint
from utils.config.loading import load_config
from utils.errors import InputError
from utils.log import trim_json_log

LONG = "x" * 6000


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"a.mp4 0\n\x00\x00\x00\n", ":2: not a line of a file list: '\\x00\\x00\\x00'"),
        (b"\x7fELF\x02\x01 0\n", ":1: not a line of a file list: "),
        (b"\x1f\x8b\x08\x00 0\n", ":1: not a line of a file list: "),
        (b"a\x1b[2Jb.mp4 0\n", ":1: not a line of a file list: 'a\\x1b[2Jb.mp4 0'"),
        ("a\x9b2Jb.mp4 0\n".encode(), ":1: not a line of a file list: 'a\\x9b2Jb.mp4 0'"),
        (f"a.mp4 0\n{LONG} 0\n".encode(), ":2: not a line of a file list: 'xxx"),
        (b"x" * (1 << 20), ":1: not a line of a file list: 'xxx"),
        (bytes(1 << 20), ":1: not a line of a file list: '\\x00"),
        ("a.mp4 0\n".encode("utf-16"), ":1: not a line of a file list: "),
        ("a.mp4 0\n".encode("utf-16-le"), ":1: not a line of a file list: 'a\\x00.\\x00m"),
        (b"a.mp4 " + b"9" * 4000, ":1: expected 'path label', got 'a.mp4 999"),
        (b"a.mp4 0x1\n", ":1: expected 'path label', got 'a.mp4 0x1'"),
        ("a.mp4 ٣\n".encode(), ":1: expected 'path label', got 'a.mp4 ٣'"),
        (b"a.mp4 0\n" * 20_000 + b"a.mp4 7\n", ":20001: label 7 is outside 0..3 (num_classes is 4)"),
        (b"\n \t\r\n" * 20_000, ": the file list is empty"),
    ],
)
def test_lists(content, problem, tmp_path):
    path = tmp_path / "a.list"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_list(str(path), num_classes=4)
    assert str(error.value).startswith(f"{path}{problem}") and len(str(error.value)) < 500


def test_lists_that_never_end():
    for path, problem in (
        ("/dev/zero", "not a line of"),
        ("/dev/urandom", "not a line of|expected 'path label'"),
        ("/dev/null", "empty"),
    ):
        with pytest.raises(InputError, match=problem):
            read_list(path, num_classes=4)


def test_a_long_list_is_read_in_time(tmp_path):
    path = tmp_path / "a.list"
    path.write_text("".join(f"videos/{i:06}.mp4 {i % 4}\n" for i in range(100_000)))
    start = time.monotonic()
    entries = read_list(str(path), num_classes=4)
    assert len(entries) == 100_000 and entries[-1] == Entry("videos/099999.mp4", 3, 100_000)
    assert time.monotonic() - start < 10
    assert not hasattr(entries[0], "__dict__")  # half the memory


@pytest.mark.parametrize(
    "content, problem",
    [
        (b'["a", "b\\ud83d", "c"]', "label 1 is not one line of text: 'b\\ud83d'"),
        (b'["a", "b\\n", "c"]', "label 1 is not one line of text: 'b\\n'"),
        (b'["a", "b", "\\u001b[2J"]', "label 2 is not one line of text: '\\x1b[2J'"),
        (b'["a", "b", "\\u0000"]', "label 2 is not one line of text: '\\x00'"),
        (b'["a", "b"]', "2 labels, but MODEL.num_classes is 3 (INFER.kinetics_labels; "),
        (b'["a", "b", 3]', "the label list must be a JSON list of names"),
        (b'{"a": 0, "b": 1, "c": 2}', "the label list must be a JSON list of names"),
        (b"[" * 100_000, "the label list is not JSON: "),
        (b"9" * 10_000, "the label list is not JSON: "),
        (b"\xff\xfe[", "the label list is not JSON: "),
        (b" " * 10_000_001, "the label list is larger than 10000000 bytes"),
    ],
)
def test_labels(content, problem, tmp_path):
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_labels(str(path), 3)
    assert str(error.value).startswith(f"{path}: {problem}") and "\n" not in str(error.value)


def test_labels_in_any_writing(tmp_path):
    names = ["приседания", "abrir una puerta – ¡rápido!", "走路\u3000😀\xa0\u200b"]
    (tmp_path / "labels.json").write_text(json.dumps(names), encoding="utf-8")
    assert read_labels(str(tmp_path / "labels.json"), 3) == names


@pytest.mark.parametrize(
    "content, problem",
    [
        ("a: &x [1]\nb: *x\n", ":1: anchors and aliases (& and *) are not accepted"),
        (
            "MODEL: !!python/object/apply:os.system ['exit 1']\n",
            ":1: tags are not accepted: tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("MODEL: " + "[" * 50_000, ":1: nested deeper than 8 levels"),
        ("".join(" " * i + "a:\n" for i in range(400)), ":8: nested deeper than 8 levels"),
        ("%YAML 99999999999999999999.1\n---\n", ":1: "),
        ('MODEL: "\\U99999999"\n', ":1: not valid YAML: a number out of range"),
        ("MODEL: {name: TSN\x00}\n", ":1: not valid YAML: character '\\x00'"),
        ("MODEL:\n  seg_num: " + "9" * 5000 + "\n", ":2: MODEL.seg_num: expected "),
        ("#" * 100_001, ": larger than 100000 bytes: not a configuration"),
        ("--- 1\n--- 2\n", ":2: not valid YAML: but found another document"),
    ],
)
def test_configurations(content, problem, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(content)
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path}{problem}") and len(str(error.value)) < 400
    assert time.monotonic() - start < 5


MANIFEST = {
    "format": 1,
    "saved_at": 1.0,
    "progress": dict.fromkeys(set(Progress.__dataclass_fields__) - {"thresholds"}, 1),
    "model": {},
    "train": {},
    "files": {"TSN.pdparams": "", "TSN.pdopt": ""},
}


@pytest.mark.parametrize(
    "replace, problem",
    [
        (('"saved_at": 1.0', '"saved_at": ' + "9" * 400), "OverflowError: int too large to convert to float"),
        (('"saved_at": 1.0', '"saved_at": NaN'), "ValueError: saved_at is out of range"),
        (('"saved_at": 1.0', '"saved_at": 1e999'), "ValueError: saved_at is out of range"),
        (
            ('"saved_at": 1.0', '"saved_at": {}'),
            "TypeError: float() argument must be a string or a real number, not 'dict'",
        ),
        (('"epoch": 1', '"epoch": ' + "9" * 4000), "ValueError: epoch is out of range"),
        (('"epoch": 1', '"epoch": true'), "ValueError: epoch is True"),
        (('"epoch": 1', '"epoch": -1'), "ValueError: unknown format"),
        (
            ('"epoch": 1', '"a\\nb\\u001b[2J": 1'),
            "TypeError: Progress.__init__() got an unexpected keyword argument 'a b\\x1b[2J'",
        ),
        (('"epoch": 1', '"epoch": "' + "x" * 5000 + '"'), "ValueError: epoch is 'xxx"),
        (('"best_top1": 1', '"best_top1": NaN'), "ValueError: best_top1 is out of range"),
        (('"model": {}', '"model": ' + "[" * 100_000), "RecursionError: "),
        (('"model": {}', '"model": "' + "x" * 2_000_000 + '"'), "ValueError: larger than 1000000 bytes"),
        (('"format": 1', '"format": 2'), "ValueError: unknown format"),
    ],
)
def test_manifests(replace, problem, tmp_path):
    text = json.dumps(MANIFEST)
    assert replace[0] in text
    (tmp_path / "TSN.json").write_text(text.replace(*replace))
    for suffix in (".pdparams", ".pdopt"):
        (tmp_path / f"TSN{suffix}").touch()
    for resume in ("auto", str(tmp_path), str(tmp_path / "TSN")):
        with pytest.raises(InputError) as error:
            find_checkpoint(resume, str(tmp_path))
        assert f"{tmp_path / 'TSN.json'}: not a manifest of this checkpoint ({problem}" in str(error.value)
        assert str(error.value).isprintable() and len(str(error.value)) < 600


def test_the_log_of_another_program(tmp_path):
    """A resumed run keeps the lines that it understands."""
    good = '{"mode": "train", "epoch": 0, "iter": 1}'
    strange = ["[" * 100_000, "9" * 10_000, "[]", "3", '{"epoch": "a"}', '{"epoch": NaN}', '{"epoch": 0}']
    strange += ["\ud800", "\0", good[:-1]]
    path = tmp_path / "train_log.jsonl"
    path.write_text("\n".join([good, *strange, good]), errors="surrogatepass")
    trim_json_log(path, epoch=0, step=5)
    assert path.read_text() == f"{good}\n{good}\n"


def test_what_is_no_file(tmp_path):
    """Folders, and files that never end, in place of text."""
    for path in (str(tmp_path), "/dev/zero"):
        for read in (lambda p: read_labels(p, 3), load_config):
            with pytest.raises(InputError) as error:
                read(path)
            assert str(error.value).startswith(f"{path}: ") and os.linesep not in str(error.value)
