"""The original's two files from a server of our own: whole, in parts, interrupted, missing, and hostile."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, says
from models.weights import download, receiving
from utils.errors import InputError, RunError
from weight_server import serving

CONTENT = b"\x80\x02" + np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving({"TSN.pdparams": CONTENT}) as server:
        yield server


def published_tsn(folder: Path, url: str) -> Path:
    return from_server(folder, url, download.published_tsn)


def imagenet_resnet50(folder: Path, url: str) -> Path:
    return from_server(folder, url, lambda: download.imagenet_resnet50("give others by --pretrain=PATH"))


def from_server(folder: Path, url: str, get: Callable[[], Path]) -> Path:
    """Return the result of `get` with this server and this folder for weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "BASE_URL", url)
        patch.setattr(download, "_weights_folder", lambda otherwise: folder)
        return get()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once(server, tmp_path, capsys):
    folder = tmp_path / "new" / "weights"
    for _ in range(2):
        path = published_tsn(folder, server.url)
        assert path == folder / "TSN.pdparams" and path.read_bytes() == CONTENT
    assert len(server.requests) == 1 and names_in(folder) == ["TSN.pdparams"]
    captured = capsys.readouterr()
    assert captured.out == f"downloading {server.url}TSN.pdparams to {path}\n"
    assert "TSN.pdparams:" in captured.err and "3.00M" in captured.err


def test_the_folder_is_in_the_home_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(download, "BASE_URL", server.url)
    assert download.published_tsn() == tmp_path / ".paddle/weights/TSN.pdparams"


@pytest.mark.parametrize("validators", [{"ETag": '"1"'}, {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}])
def test_a_broken_connection_is_resumed_where_it_broke(server, validators, tmp_path):
    server.validators = validators
    server.break_after = [1_000_000, 500_000]
    assert published_tsn(tmp_path, server.url).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000000-", "bytes=1500000-"]
    assert names_in(tmp_path) == ["TSN.pdparams"]


def broken(server, folder, *lengths: int) -> InputError:
    """Return the error of a download whose attempts end after these numbers of bytes, and then without any."""
    server.break_after = [*lengths, 0, 0]
    with pytest.raises(InputError) as error:
        published_tsn(folder, server.url)
    server.break_after.clear()
    return error.value


def test_a_part_is_kept_for_the_next_run(server, tmp_path):
    error = broken(server, tmp_path, 1_000_000)
    file = f"{tmp_path}/TSN.pdparams"
    says(error, f"{file} ", "1000000 of 3000002 bytes", f"fetch {server.url}TSN.pdparams", file, "--weights=PATH")
    assert not (tmp_path / "TSN.pdparams").exists()
    server.requests.clear()
    assert published_tsn(tmp_path, server.url).read_bytes() == CONTENT
    assert server.requests == [("/TSN.pdparams", "bytes=1000000-")]
    assert names_in(tmp_path) == ["TSN.pdparams"]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    broken(server, tmp_path, 1_000_000)
    assert published_tsn(tmp_path, server.url).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(server, tmp_path):
    broken(server, tmp_path, 1_000_000)
    server.files["TSN.pdparams"] = b"\x80\x02" + CONTENT[:2:-1]
    server.validators = {"ETag": '"2"'}
    assert published_tsn(tmp_path, server.url).read_bytes() == server.files["TSN.pdparams"]


@pytest.mark.parametrize("validators", [{}, {"ETag": 'W/"weak"'}])
def test_without_a_version_nothing_is_resumed(server, validators, tmp_path):
    server.validators = validators
    broken(server, tmp_path, 1_000_000)
    server.requests.clear()
    assert published_tsn(tmp_path, server.url).read_bytes() == CONTENT
    assert server.requests == [("/TSN.pdparams", None)]


@pytest.mark.parametrize("excess", [0, 7])
def test_a_part_as_long_as_the_file_or_longer(server, excess, tmp_path):
    """After 416, a part with the file's length is complete; a longer one is useless, and fetched again."""
    (tmp_path / "TSN.pdparams.part").write_bytes(CONTENT + bytes(excess))
    (tmp_path / "TSN.pdparams.part.version").write_text('"1"')
    assert published_tsn(tmp_path, server.url).read_bytes() == CONTENT
    assert len(server.requests) == (1 if excess == 0 else 2)
    assert names_in(tmp_path) == ["TSN.pdparams"]


def test_another_part_than_asked_for_is_not_appended(server, tmp_path):
    broken(server, tmp_path, 1_000_000)
    server.content_range = "bytes 5-3000001/3000002"
    assert published_tsn(tmp_path, server.url).read_bytes() == CONTENT


def test_a_chunked_answer_has_no_length(server, tmp_path):
    server.chunked = True
    assert published_tsn(tmp_path, server.url).read_bytes() == CONTENT
    (tmp_path / "TSN.pdparams").unlink()
    server.ranges = False
    says(broken(server, tmp_path, 1_000_000), f"{tmp_path}/TSN.pdparams ", "cannot be downloaded", "--weights=PATH")
    assert not (tmp_path / "TSN.pdparams").exists()


def test_a_proxys_page_is_not_taken_for_weights(server, tmp_path):
    server.files["TSN.pdparams"] = b"<html>please log in</html>"
    with pytest.raises(InputError) as error:
        published_tsn(tmp_path, server.url)
    says(error.value, f"{tmp_path}/TSN.pdparams ", "another kind of file", "--weights=PATH")
    assert not {"TSN.pdparams", "TSN.pdparams.part"} & set(names_in(tmp_path))


@pytest.mark.parametrize("status, reason", [(404, "404 Not Found"), (503, "503 Service Unavailable")])
def test_an_error_of_the_server_is_repeated(server, status, reason, tmp_path):
    server.status = status
    with pytest.raises(InputError) as error:
        published_tsn(tmp_path, server.url)
    says(error.value, f"{tmp_path}/TSN.pdparams ", reason, f"fetch {server.url}TSN.pdparams", "--weights=PATH")
    assert len(server.requests) == 1


@pytest.mark.parametrize("get, name, flag", [
    (published_tsn, "TSN.pdparams", "--weights=PATH"),
    (imagenet_resnet50, "ResNet50_pretrained.tar.gz", "--pretrain=PATH"),
])  # fmt: skip
def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(get, name, flag, tmp_path):
    base = "http://127.0.0.1:9/"  # nobody listens on this port
    file = tmp_path / name
    with pytest.raises(InputError) as error:
        get(tmp_path, base)
    says(error.value, f"{file} ", "Connection refused", f"fetch {base}{name}", f"at {file}", flag)


def test_a_folder_that_cannot_be_made_is_the_users_mistake(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"^{tmp_path}/file/weights: .* Not a directory$"):
        published_tsn(tmp_path / "file" / "weights", server.url)


def test_a_full_disk_is_no_mistake(server, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    def open_on_full_disk(path, mode):
        return Full() if mode == "wb" else open(path, mode)

    monkeypatch.setattr(receiving, "open", open_on_full_disk, raising=False)
    with pytest.raises(RunError, match=f"^{tmp_path}/TSN.pdparams: .* No space left on device$"):
        published_tsn(tmp_path, server.url)
    assert not (tmp_path / "TSN.pdparams").exists()


def test_processes_at_once_share_one_download(server, tmp_path):
    code = f"from models.weights import download; download.BASE_URL = {server.url!r}; download.published_tsn()"
    how = {"cwd": ROOT, "env": {**os.environ, "HOME": str(tmp_path)}, "stdout": subprocess.DEVNULL}
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, **how) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    folder = tmp_path / ".paddle" / "weights"
    assert len(server.requests) == 1
    assert (folder / "TSN.pdparams").read_bytes() == CONTENT and names_in(folder) == ["TSN.pdparams"]


# --------------------------------------------------------------------------------------------- the archive


def archive(*members: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in members:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"1234"))
    return buffer.getvalue()


@pytest.mark.parametrize("prefix", ["ResNet50_pretrained/", "another_name/", "", "./"])
def test_the_archive_becomes_a_folder(server, prefix, tmp_path):
    server.files["ResNet50_pretrained.tar.gz"] = archive(f"{prefix}conv1_weights", f"{prefix}bn_conv1_mean")
    for _ in range(2):
        folder = imagenet_resnet50(tmp_path, server.url)
        assert folder == tmp_path / "ResNet50_pretrained"
        assert names_in(folder) == ["bn_conv1_mean", "conv1_weights"]
    assert len(server.requests) == 1


def test_an_archive_put_there_by_hand_needs_no_network(tmp_path):
    (tmp_path / "ResNet50_pretrained.tar.gz").write_bytes(archive("ResNet50_pretrained/conv1_weights"))
    assert names_in(imagenet_resnet50(tmp_path, "http://127.0.0.1:9/")) == ["conv1_weights"]
    assert names_in(tmp_path) == ["ResNet50_pretrained", "ResNet50_pretrained.tar.gz"]


@pytest.mark.parametrize(
    "data, pieces",
    [
        (archive("ok", "../escaped"), ("'../escaped'", "leaves the folder")),
        (archive("ok")[:60], ("a damaged archive",)),
    ],
    ids=["escaping", "cut off"],
)
def test_a_bad_archive_leaves_no_folder(server, data, pieces, tmp_path):
    server.files["ResNet50_pretrained.tar.gz"] = data
    with pytest.raises(InputError) as error:
        imagenet_resnet50(tmp_path / "weights", server.url)
    path = tmp_path / "weights" / "ResNet50_pretrained.tar.gz"
    says(error.value, f"{path}: ", *pieces, "delete it")
    assert names_in(tmp_path) == ["weights"]
    assert not {"ResNet50_pretrained", "escaped"} & set(names_in(tmp_path / "weights"))
