"""A refusal in the middle of an upload reaches every kind of client."""

import json
import resource
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from server_process import BOUNDARY, Server, form

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

TIMES = 8
TOO_LARGE = 413, {"error": "the upload is larger than 1 MB"}
KINDS = f"multipart/form-data; boundary={BOUNDARY}"


def with_curl(server: Server, file, headers: list[str]) -> list[tuple[int, dict]]:
    """Return TIMES answers. curl closes its connection after each refusal."""
    flags = [word for header in headers for word in ("-H", header)]
    command = ["curl", "-sS", *flags, "-F", f"video=@{file}", "-w", "\n%{http_code}\n"]
    ended = subprocess.run([*command, f"{server.url}/api/predict#[1-{TIMES}]"], capture_output=True, text=True)
    lines = ended.stdout.splitlines()
    assert ended.returncode == 0, ended.stderr
    return [(int(status), json.loads(body)) for body, status in zip(lines[::2], lines[1::2])]


def with_httpx(server: Server, content: bytes, headers: dict[str, str], chunked: bool) -> list[tuple[int, dict]]:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 50_000):
            yield content[start : start + 50_000]

    found = []
    with httpx.Client(timeout=60) as client:
        for _ in range(TIMES):
            sent = pieces() if chunked else content
            answer = client.post(f"{server.url}/api/predict", content=sent, headers={"Content-Type": KINDS, **headers})
            found.append((answer.status_code, answer.json()))
    return found


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("expect", [False, True], ids=["at once", "expect"])
@pytest.mark.parametrize("client", ["curl", "httpx"])
def test_a_refusal_in_the_middle_of_an_upload_is_read(server, tmp_path, client, expect, chunked):
    content = form(bytes(8_000_000))
    if client == "httpx":
        assert with_httpx(server, content, {"Expect": "100-continue"} if expect else {}, chunked) == TIMES * [TOO_LARGE]
        return
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    (tmp_path / "clip.mp4").write_bytes(content)
    headers = ["Expect: 100-continue" if expect else "Expect:", *(["Transfer-Encoding: chunked"] if chunked else [])]
    assert with_curl(server, tmp_path / "clip.mp4", headers) == TIMES * [TOO_LARGE]


def test_a_full_disk_is_one_sentence(workspace, tmp_path):
    with Server(tmp_path, workspace.config, workspace.weights) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
        found = with_httpx(server, form(bytes(10_000_000)), {}, True)
    assert found == TIMES * [(503, {"error": "the server cannot store the upload: File too large"})]
