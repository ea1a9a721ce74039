"""POST /api/predict over HTTP: predict.py's numbers, one sentence for each error, and no file that stays."""

import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from PIL import Image

from conftest import LABELS, ROOT, make_clip, run_script, says, synthetic_frames, wait_until
from server_process import BOUNDARY, form, post, read_all

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

TEXT = form(b"no video")


@pytest.fixture(autouse=True)
def nothing_left(server):
    yield
    wait_until(lambda: server.uploads() == [])
    assert server.process.poll() is None


@pytest.fixture(scope="module")
def entries(workspace, tmp_path_factory) -> list[dict]:
    """Provide the entry that predict.py writes for each held-out clip."""
    folder = tmp_path_factory.mktemp("predicted")
    flags = f"--save_dir={folder}", "--report=False", "--batch_size=1"
    assert run_script("predict", workspace.config, workspace.weights, *flags).returncode == 0
    return json.loads((folder / "predictions.json").read_text())


def ask(server, path: str, **query: object):
    with open(path, "rb") as file:
        return httpx.post(f"{server.url}/api/predict", files={"video": file}, params=query, timeout=60)


def test_the_answer_is_the_entry_that_predict_writes(server, entries):
    for entry in entries[:2]:
        response = ask(server, entry["video"])
        assert response.status_code == 200
        assert response.json() == {**entry, "video": entry["video"].rpartition("/")[2]}


def test_videos_get_the_same_answers_together_as_alone(server, entries):
    with ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(lambda entry: ask(server, entry["video"]), entries[:4]))
    assert [response.json()["predictions"] for response in responses] == [e["predictions"] for e in entries[:4]]


def test_pictures_come_on_request(server, entries):
    answer = ask(server, entries[0]["video"], frames="true", heat_maps="true").json()
    assert answer["predictions"] == entries[0]["predictions"]
    assert len(answer["frames"]) == 3 and answer["heat_maps"] == []  # a crop of 32x32 has only one place
    for picture in answer["frames"]:
        head, _, data = picture.partition(",")
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert head == "data:image/jpeg;base64" and image.size == (32, 32)


def long_clip(folder) -> bytes:
    make_clip(folder / "long.mp4", synthetic_frames(0, 0, length=126))  # 25 a second
    return (folder / "long.mp4").read_bytes()


def cut_clip(workspace) -> bytes:
    content = workspace.held_out[0][0].read_bytes()
    return content[: len(content) // 2]


NO_FORM = 415, "expected a form, multipart/form-data, with a file in its field `video`"
LONG_BOUNDARY = f"multipart/form-data; boundary={'x' * 300}"
ENDED = 400, "the upload ended early"
FAULTS = {
    "no_video": (post(TEXT), 422, "clip.mp4: not a readable video file"),
    "empty": (post(form(b"")), 422, "clip.mp4: the file is empty"),
    "no_name": (post(form(b"x", name="")), 422, "video: not a readable video file"),
    "path_as_name": (post(form(b"x", name="../../a\\b/c\x7f.mp4")), 422, "c .mp4: not a readable video file"),
    "other_field": (post(form(b"x", "clip")), 400, "the form has no field `video` with a file"),
    "two_videos": (post(TEXT[:-12] + b"\r\n" + TEXT), 400, "the form has more than one field `video`"),
    "no_form": (post(b"video=x", kind="application/x-www-form-urlencoded"), *NO_FORM),
    "no_boundary": (post(TEXT, kind="multipart/form-data"), *NO_FORM),
    "long_boundary": (post(TEXT, kind=LONG_BOUNDARY), 400, "the boundary of the form is too long"),
    "other_boundary": (post(TEXT, kind="multipart/form-data; boundary=other"), 400, "the form is damaged"),
    "no_end": (post(TEXT[:-8]), *ENDED),
    "no_body": (post(b""), *ENDED),
    "large": (post(form(bytes(10**6))), 413, "the upload is larger than 1 MB"),
    "announced_large": (post(TEXT, length=10**12), 413, "the upload is larger than 1 MB"),
    "long_header": (post(f"--{BOUNDARY}\r\nX: {'x' * 10**5}\r\n\r\n".encode()), 400, "the form is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("request_, status, sentence", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_sentence(server, request_, status, sentence):
    head, _, body = server.send(request_).partition(b"\r\n\r\n")
    assert (int(head.split()[1]), json.loads(body)) == (status, {"error": sentence})


def test_a_body_without_a_length_is_cut_off_as_well(server):
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    start = form(b"")[:-12]
    answer = server.send(head + f"{len(start):x}\r\n".encode() + start + b"\r\n" + 20 * chunk + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ") and answer.endswith(b'{"error":"the upload is larger than 1 MB"}')


def test_videos_that_are_cut_or_too_long_are_refused(server, workspace, tmp_path):
    for content, problem in (
        (cut_clip(workspace), "clip.mp4: not a readable video file|clip.mp4: truncated"),
        (long_clip(tmp_path), "clip.mp4: it lasts longer than 5 s"),
    ):
        answer = server.send(post(form(content))).decode()
        assert answer.startswith("HTTP/1.1 422 ") and re.search(problem, answer)


def test_a_client_that_goes_away_leaves_no_file(server):
    with server.connect() as connection:
        connection.sendall(post(TEXT)[:-20])
        wait_until(server.uploads)


def test_too_many_clients_are_told_to_come_back(server, workspace):
    request = post(form(workspace.held_out[0][0].read_bytes()))
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(12)]
        for connection in connections:
            connection.sendall(request[:-1])
        wait_until(lambda: len(server.uploads()) == 12)
        for connection in connections:
            connection.sendall(request[-1:])
        answers = [read_all(connection) for connection in connections]
    statuses = [int(answer.split()[1]) for answer in answers]
    assert statuses.count(200) >= 4 and statuses.count(503) >= 1 and {*statuses} == {200, 503}
    refused = answers[statuses.index(503)]
    assert re.search(rb"retry-after: [1-9]\d*\r\n", refused.lower())
    says(json.loads(refused.partition(b"\r\n\r\n")[2])["error"], "4 videos ", "waiting", "try again")


def test_info_names_everything_that_a_probability_depends_on(server):
    info = httpx.get(f"{server.url}/api/info").json()
    assert info.pop("protocol").startswith(
        "3 segments, short side 36 (4:3), 1 centre crop 32, sampling segment, resize"
    )
    assert re.fullmatch("[0-9a-f]{64}", info.pop("weights"))
    assert info == {
        "model": "TSN resnet-18",
        "arithmetic": info["arithmetic"],
        "num_classes": 4,
        "labels": "single",
        "classes": LABELS,
        "topk": 3,
        "limits": {"upload_mb": 1, "seconds": 5.0, "reading_seconds": 20.0, "waiting": 4},
    }


@pytest.mark.parametrize(
    "headers", [{"Host": "elsewhere.org"}, {"Origin": "https://elsewhere.org"}, {"Origin": "null"}]
)
def test_pages_of_other_sites_are_refused(server, headers):
    response = httpx.post(f"{server.url}/api/predict", files={"video": b"x"}, headers=headers)
    assert response.status_code == 403 and [*response.json()] == ["error"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_page_names_another_address(server, path):
    text = httpx.get(server.url + path).text
    assert not re.search(r"(?:src|href|action)=[\"']?(?:https?:)?//", text) and "@import" not in text
    assert "POST /api/predict" in text


def test_the_docs_name_every_address(server):
    for path in httpx.get(f"{server.url}/openapi.json").json()["paths"]:
        assert path in httpx.get(f"{server.url}/docs").text


def test_uploads_are_private(server):
    [folder] = server.folder.glob("paddle-tsn-*")
    assert folder.stat().st_mode & 0o777 == 0o700 and ROOT not in folder.parents
