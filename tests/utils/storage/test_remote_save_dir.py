"""Test a save_dir in object storage: checked beforehand, written locally, and uploaded at the end."""

import os
from pathlib import Path

import pytest

from conftest import says
from object_store import answering, closed, reply
from utils.errors import InputError, RunError
from utils.storage import objects
from utils.storage.files import CACHE_VARIABLE, check_local, check_save_dir, make_save_dir, publish, write_text


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "WAITS", (0.01,))
    return tmp_path / "cache"


def test_files_are_uploaded_and_the_local_folder_goes(store):
    path = "s3://clips/saved/run 1"
    check_save_dir(path)
    folder = make_save_dir(path)
    write_text(folder / "results.json", "{}")
    (folder / "parts").mkdir()
    (folder / "parts" / "0.parquet").write_bytes(b"0")
    (folder / ".results.json.12.tmp").write_bytes(b"half")
    (folder / "results.partial.rank1.jsonl").write_bytes(b"one of several")
    assert publish(folder, path, clear=False) == path and folder.exists()
    assert publish(folder, path) == path and not folder.exists()
    assert store.keys("saved/run 1/") == ["parts/0.parquet", "results.json"]
    assert store.get("saved/run 1/parts/0.parquet") == b"0"


def test_the_same_command_finds_the_same_folder(store):
    folder = make_save_dir("s3://clips/saved/a")
    assert make_save_dir("s3://clips/saved/a/") == folder != make_save_dir("s3://clips/saved/b")


def test_the_journal_is_uploaded_last():
    """So a program that sees it finds all other files."""
    uploaded = []

    def answer(request):
        if request.command == "PUT":
            uploaded.append(request.path.split("?")[0].split("/")[-1])
        body = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", '"1"')
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as server:
        folder = make_save_dir(path := f"s3://b/out{server}")
        for name in ("a.jsonl", "b.json", "c.csv", "d.npy"):
            (folder / name).write_text(name)
        publish(folder, path)
    assert uploaded == ["b.json", "c.csv", "d.npy", "a.jsonl"]


def test_an_upload_that_fails_keeps_the_files(store):
    folder = make_save_dir(path := f"s3://clips/out{closed()}")
    write_text(folder / "results.json", "{}")
    with pytest.raises(RunError) as error:
        publish(folder, path)
    url = path.replace("out", "out/results.json")
    says(error.value, f"{url}: ", "Could not connect", "2 attempts", f"kept in {folder}", "the same command continues")
    assert (folder / "results.json").read_text() == "{}"


def test_local_folders_stay(tmp_path):
    folder = make_save_dir(str(tmp_path / "out"))
    assert folder == tmp_path / "out" and publish(folder, str(folder)) == str(folder) and folder.is_dir()
    check_local("--resume", None)
    check_local("--resume", "a")


def test_folders_that_cannot_be_written(store, cache, monkeypatch):
    def complain(path: str) -> str:
        with pytest.raises(InputError) as error:
            check_save_dir(path)
        return str(error.value)

    says(complain("s3://none-such/x"), "--save_dir=s3://none-such/x: ", "no such bucket")
    with answering(lambda request: reply(request, 403)) as server:
        denied = f"s3://clips/x{server}"
        says(complain(denied), f"--save_dir={denied}: ", "no permission", "ACCESS_DENIED")
    cache.touch()
    says(complain("s3://clips/x"), "--save_dir=s3://clips/x: ", f"{cache} ", "not a folder")
    with pytest.raises(InputError) as error:
        make_save_dir("s3://clips/x")
    says(error.value, "--save_dir=s3://clips/x: /", "Not a directory")
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    assert complain("s3://clips/x") == "s3://clips/x: needs a temporary folder on this machine, but " + (
        "PADDLE_TSN_CACHE is off"
    )
    assert os.path.isfile(cache)
