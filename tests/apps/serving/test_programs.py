"""Addresses, tokens, parameters and pages of other sites, for programs; the log and the numbers about them."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from conftest import LABELS, says, wait_until
from server_process import Server, form, post
from utils.errors import InputError

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

from apps.serving.quotas import LONGEST_WAIT  # noqa: E402  (needs fastapi)
from apps.serving.server import read_origins, read_token  # noqa: E402
from apps.serving.service import Service  # noqa: E402

SITE = "https://clips.example"


@pytest.fixture(scope="module")
def locked(workspace, tmp_path_factory):
    """Provide a server with a token from a file. Pages of SITE may use it."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "token").write_text("secret\n")
    flags = f"--token_file={folder / 'token'}", f"--allow_origin={SITE}", "--max_waiting=4"
    with Server(folder, workspace.config, workspace.weights, *flags) as running:
        yield running


@pytest.mark.parametrize("path", ["/", "/health"])
def test_head_is_get_without_its_body(server, path):
    head, get = httpx.head(server.url + path), httpx.get(server.url + path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("scheme, status", [("Bearer", 200), ("bearer", 200), ("BEARER", 200), ("Basic", 401)])
def test_the_word_bearer_is_known_in_any_case(locked, scheme, status):
    answer = httpx.get(f"{locked.url}/api/info", headers={"Authorization": f"{scheme} secret"})
    assert answer.status_code == status


def test_a_token_comes_from_a_flag_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("PADDLE_TSN_TOKEN", raising=False)
    (tmp_path / "token").write_text(" one \n")
    (tmp_path / "empty").write_text("\n")
    assert read_token(None, None) is None
    monkeypatch.setenv("PADDLE_TSN_TOKEN", "two")
    found = [read_token(None, None), read_token("three", None), read_token(None, str(tmp_path / "token"))]
    assert found == ["two", "three", "one"]
    for given, name, *pieces in (
        ("three", "token", "--token and --token_file: ", "only one of them"),
        (None, "empty", f"--token_file={tmp_path}/empty: ", "empty"),
        (None, "none", f"--token_file={tmp_path}/none: ", "No such file or directory"),
    ):
        with pytest.raises(InputError) as error:
            read_token(given, str(tmp_path / name))
        says(error.value, *pieces)


@pytest.mark.parametrize("text", ["clips.example", "*", "https://clips.example/page", "https://a b", "ftp://a"])
def test_an_origin_is_a_scheme_and_a_host(text):
    assert read_origins(f"{SITE}/, http://localhost:3000") == (SITE, "http://localhost:3000")
    with pytest.raises(InputError) as error:
        read_origins(text)
    says(error.value, f"--allow_origin={text}: ", "https://HOST", f"not {text!r}")


def test_the_document_names_the_token_and_explains_every_field(server, locked):
    document = httpx.get(f"{locked.url}/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"HTTPBearer": {"type": "http", "scheme": "bearer"}}
    assert document["paths"]["/api/predict"]["post"]["security"] == [{"HTTPBearer": []}]
    assert "securitySchemes" not in httpx.get(f"{server.url}/openapi.json").json()["components"]
    docs = httpx.get(f"{server.url}/docs").text
    for name, about in document["components"]["schemas"].items():
        assert f"<h2>{name}</h2>" in docs
        for field in about["properties"].values():
            assert field["description"] in docs
    assert f"http://127.0.0.1:{server.port}/api/predict" in docs and "bungee_jumping" in docs


PARAMETERS = {
    "?topk=1": (200, 1),
    "?topk=4": (200, 4),
    "?topk=5": (422, "query.topk: Input should be less than or equal to 4"),
    "?topk=0": (422, "query.topk: Input should be greater than or equal to 1"),
    "?top_k=1": (422, "query.top_k: there is no such parameter"),
}


@pytest.mark.parametrize("query, expected", PARAMETERS.items(), ids=PARAMETERS)
def test_parameters_are_obeyed_or_refused(server, workspace, query, expected):
    video = {"video": workspace.held_out[0][0].read_bytes()}
    answer = httpx.post(f"{server.url}/api/predict{query}", files=video, timeout=60)
    found = answer.json()
    assert (answer.status_code, found.get("error") or len(found["predictions"])) == expected


def test_info_names_the_classes(server):
    assert httpx.get(f"{server.url}/api/info").json()["classes"] == LABELS


def test_a_page_of_an_allowed_site_may_ask(locked):
    asking = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    allowed = httpx.options(f"{locked.url}/api/predict", headers=asking)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, SITE)
    other = httpx.options(f"{locked.url}/api/predict", headers={**asking, "Origin": "https://elsewhere.org"})
    assert other.status_code == 400 and "access-control-allow-origin" not in other.headers
    answer = httpx.get(f"{locked.url}/api/info", headers={"Origin": SITE, "Authorization": "Bearer secret"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, SITE)


def test_a_request_is_a_line_without_names_of_files(server, workspace):
    before = len(server.log)
    clip = workspace.held_out[0][0].read_bytes()
    for content in (clip, b"no video"):
        server.send(post(form(content, name="private.mp4")))
    httpx.get(f"{server.url}/private")
    wait_until(lambda: server.log[before:].count("\n") == 3)
    moment, seconds = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", r"\d+\.\d\d s"
    asked, times = rf"{moment} 127\.0\.0\.1", f"waited {seconds}, computed {seconds}"
    expected = (
        rf"{asked} POST /api/predict 200, {len(form(clip, name='private.mp4'))} bytes, "
        rf"{times}\n"
        rf"{asked} POST /api/predict 422, \d+ bytes, {times}: not a readable video file\n"
        rf"{asked} GET another address 404, 0 bytes\n"
    )
    assert re.fullmatch(expected, server.log[before:])


def test_prometheus_reads_the_numbers(workspace, tmp_path):
    pytest.importorskip("prometheus_client")
    with Server(tmp_path, workspace.config, workspace.weights, "--metrics=True") as server:
        server.send(post(form(workspace.held_out[0][0].read_bytes())))
        server.send(post(form(b"no video")))
        text = httpx.get(f"{server.url}/metrics").text
    for line in ('tsn_requests_total{status="200"} 1.0', 'tsn_requests_total{status="422"} 1.0', "tsn_queue 0.0",
                 "tsn_videos_total 1.0", 'tsn_seconds_count{kind="computed"} 1.0'):  # fmt: skip
        assert line in text.splitlines()


def test_clients_that_come_back_as_told_are_answered(locked, workspace):
    """24 clients come at once, and 4 may wait. Each is refused 5 times at most."""
    clip = workspace.held_out[0][0].read_bytes()
    told, key = [], {"Authorization": "Bearer secret"}
    for _ in range(4):  # the server learns how long a video takes
        httpx.post(f"{locked.url}/api/predict", files={"video": clip}, headers=key, timeout=60)

    def ask(number: int) -> int:
        with httpx.Client(headers=key, timeout=60, verify=False) as client:
            for _ in range(6):
                answer = client.post(f"{locked.url}/api/predict", files={"video": clip})
                if answer.status_code != 503:
                    break
                told.append(int(answer.headers["retry-after"]))
                threading.Event().wait(told[-1])
        return answer.status_code

    with ThreadPoolExecutor(24) as threads:
        assert list(threads.map(ask, range(24))) == 24 * [200]
    assert told and min(told) >= 1


def test_each_refused_client_is_told_to_come_back_later_than_the_one_before():
    """A video takes half a second, so two clients find a place in each second."""
    service = SimpleNamespace(_seconds=0.5, _promised=0.0, limits=SimpleNamespace(waiting=4))
    told = [Service.retry_after(service) for _ in range(1000)]
    assert told == sorted(told) and told[0] == 1 and 5 <= told[10] <= 6 and told[-1] == LONGEST_WAIT
