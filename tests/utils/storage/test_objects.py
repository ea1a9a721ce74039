"""Test object storage with a real S3 server, and with servers that refuse, break off, or do not answer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT, says
from object_store import answering, closed, reply, silent
from utils.errors import InputError
from utils.storage import objects
from utils.storage.objects import (
    StorageError,
    check_path,
    check_writable,
    copy_to_local,
    extended,
    file_size,
    is_remote,
    upload,
)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch) -> None:
    monkeypatch.setattr(objects, "WAITS", (0.01, 0.02, 0.03))


@pytest.mark.parametrize(
    "path, remote",
    [("s3://b/k", True), ("gs://b/k", True), ("hdfs:///k", True), ("s3:/b/k", False), ("a/s3://b", False), ("", False)]
    + [(None, False), (Path("s3://b/k"), False), ("http://b/k", False), ("S3://b/k", False)],
)
def test_what_is_remote(path, remote):
    assert is_remote(path) is remote


SECRET = ["no credentials in a path", "in the environment"]


@pytest.mark.parametrize(
    "path, problem",
    [
        ("s3://bucket", None),
        ("s3://bucket/a b/c?.mp4", None),
        ("s3://bucket/a:b@c.mp4", None),
        ("s3://bucket/k?region=eu-1&endpoint_override=http://h:1", None),
        ("gs://bucket/k?scheme=http", None),
        ("hdfs://user@host:8020/k?replication=2", None),
        ("hdfs:///k", None),
        ("local:file@x", None),
        ("s3://key:word@bucket/k", SECRET),
        ("s3://key:wo/rd@bucket/k", SECRET),
        ("gs://key:word@bucket/k", SECRET),
        ("hdfs://user:word@host:8020/k", SECRET),
        ("s3:///k", ["s3://BUCKET/PATH"]),
        ("s3://key@bucket/k", ["s3://BUCKET/PATH"]),
        ("s3://b/k?secret=word", ["s3:// ", "region, scheme, endpoint_override", "not secret"]),
    ],
)
def test_paths_that_are_refused_are_not_shown(path, problem):
    if problem is None:
        check_path(path, "here")
        return
    with pytest.raises(InputError) as error:
        check_path(path, "here")
    says(error.value, "here: ", *problem)
    assert "word" not in str(error.value)


@pytest.mark.parametrize(
    "path, end, result",
    [
        ("s3://b/f", "/name", "s3://b/f/name"),
        ("s3://b/f//", "/name", "s3://b/f/name"),
        ("s3://b/f?region=x", ".x", "s3://b/f.x?region=x"),
        ("s3://b/f/?region=x", "", "s3://b/f?region=x"),
        ("s3://b", "/name?", "s3://b/name?"),
    ],
)
def test_extended(path, end, result):
    assert extended(path, end) == result


def test_a_large_file_takes_several_requests(store, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "_BLOCK", 1000)
    path = store.put("storage/large", content := os.urandom(4500))
    copy_to_local(path, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_upload_and_the_check_beforehand(store, tmp_path):
    check_writable("s3://clips/uploads/a")
    assert store.keys("uploads/") == []
    (tmp_path / "file").write_bytes(content := os.urandom(12 << 20))  # in two parts
    upload(tmp_path / "file", "s3://clips/uploads/a/file")
    assert store.get("uploads/a/file") == content


@pytest.mark.parametrize(
    "path, reason",
    [
        ("s3://clips/none", "no such file"),
        ("s3://clips", "Not a regular file: 'clips'"),
        ("s3://clips/storage", "no such file"),  # a folder
        ("s3://none-such/none", "no such bucket"),
        ("s3://clips//x", "Empty path component in path clips//x"),
    ],
)
def test_what_is_not_there_is_not_asked_for_again(store, monkeypatch, path, reason):
    store.put("storage/x", b"x")
    monkeypatch.setattr(time, "sleep", None)
    with pytest.raises(StorageError) as error:
        file_size(path)
    assert error.value.strerror == reason


def test_a_missing_bucket_is_no_folder_for_results(store):
    with pytest.raises(StorageError) as error:
        check_writable("s3://none-such/results")
    assert error.value.strerror == "no such bucket"


@pytest.mark.parametrize(
    "status, reason, attempts",
    [
        (301, "the server answers HTTP status 301, the bucket lies in another region: set AWS_REGION", 1),
        (400, "the server answers HTTP status 400", 1),
        (401, "no permission (ACCESS_DENIED)", 1),
        (403, "no permission (ACCESS_DENIED)", 1),
        (429, "the server answers HTTP status 429 (4 attempts)", 4),
        (500, "the server answers HTTP status 500 (4 attempts)", 4),
        (503, "the server answers HTTP status 503 (4 attempts)", 4),
    ],
)
def test_what_may_pass_is_tried_again_and_nothing_else(store, status, reason, attempts):
    asked = []

    def answer(request):
        asked.append(request.command)
        reply(request, status)

    with answering(answer) as server:
        for action in (file_size, check_writable):
            asked.clear()
            with pytest.raises(StorageError) as error:
                action(f"s3://bucket/x{server}")
            assert (error.value.strerror, len(asked)) == (reason, attempts)


def test_a_server_that_comes_back_is_asked_again(store, tmp_path):
    """The first answer is an error, the second breaks off, then all is well."""
    asked = []

    def answer(request):
        asked.append(request.command)
        if len(asked) == 1:
            reply(request, 500)
        elif request.command == "GET" and asked.count("GET") == 1:
            reply(request, 206, b"half", 8)
        else:
            reply(request, 206 if request.command == "GET" else 200, b"complete")

    with answering(answer) as server:
        copy_to_local(f"s3://bucket/x{server}", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"complete" and asked == ["HEAD", "HEAD", "GET", "HEAD", "GET"]


def test_nothing_listens(store):
    with pytest.raises(StorageError) as error:
        file_size(f"s3://bucket/x{closed()}")
    assert error.value.strerror == "the server cannot be reached: Could not connect to server (4 attempts)"


def test_a_silent_server_is_given_up(store, monkeypatch):
    monkeypatch.setattr(objects, "WAITS", ())
    monkeypatch.setattr(objects, "SILENCE_LIMIT", 1)
    start = time.monotonic()
    with silent() as server, pytest.raises(StorageError) as error:
        file_size(f"s3://bucket/x{server}")
    assert error.value.strerror == "the server cannot be reached: Timeout was reached (1 attempts)"
    assert 0.9 < time.monotonic() - start < 5


def test_the_patience_with_servers_is_less_than_a_video_has():
    assert (len(objects.WAITS) + 1) * objects.SILENCE_LIMIT + sum(objects.WAITS) < 60


def test_a_disk_without_room(store, tmp_path, monkeypatch):
    path = store.put("storage/x", b"x" * 1000)
    monkeypatch.setattr(objects.shutil, "disk_usage", lambda folder: objects.shutil._ntuple_diskusage(9000, 8001, 999))
    with pytest.raises(StorageError) as error:
        copy_to_local(path, tmp_path / "copy")
    assert error.value.strerror == f"its 1000 bytes do not fit into {tmp_path}, which has 999 left"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_disk_that_gets_full(store, monkeypatch):
    path = store.put("storage/x", b"x")
    monkeypatch.setattr(time, "sleep", None)
    with pytest.raises(StorageError) as error:
        copy_to_local(path, Path("/dev/full"))
    assert error.value.strerror == "the disk is full: No space left on device"


def test_without_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(InputError) as error:
        file_size("s3://b/k")
    says(error.value, "s3://b/k ", "pyarrow", "pip install -r ")


def test_pyarrow_is_imported_for_remote_paths_alone():
    program = (
        "import sys, utils.storage.copies, utils.storage.objects; utils.storage.objects.check_path('s3://b/k', '')"
    )
    program += "; utils.storage.copies.on_this_machine(sys.argv[1]).__enter__(); sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program, __file__], cwd=ROOT).returncode == 0
