"""Behind a proxy, the server knows its own page and shows the visitors' addresses. The docs' nginx file works."""

import http.server
import re
import shutil
import ssl
import subprocess
import threading
import urllib.request

import pytest

from conftest import ROOT, free_port, wait_until
from server_process import Server

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

ORIGIN = "https://tsn.example.org"


@pytest.mark.parametrize(
    "headers, is_own",
    [
        ({"X-Forwarded-Host": "tsn.example.org"}, True),
        ({"X-Forwarded-Host": "other.example.org"}, False),
        ({"X-Forwarded-Host": "tsn.example.org", "Host": "tsn.example.org"}, False),  # foreign
        ({}, False),
    ],
)
def test_the_own_page_behind_a_proxy_is_known(server, headers, is_own):
    answer = httpx.get(f"{server.url}/api/info", headers={"Origin": ORIGIN, **headers})
    assert answer.status_code == (200 if is_own else 403)


def test_no_page_can_send_the_headers_of_a_proxy(server):
    asking = {"Origin": ORIGIN, "Access-Control-Request-Headers": "x-forwarded-host"}
    answer = httpx.options(f"{server.url}/api/info", headers={**asking, "Access-Control-Request-Method": "GET"})
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


def test_visitors_see_the_addresses_of_the_proxy(server):
    proxy = {"X-Forwarded-Host": "tsn.example.org", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/tsn/"}
    assert f"{ORIGIN}/tsn/api/predict" in httpx.get(f"{server.url}/docs", headers=proxy).text
    assert httpx.get(f"{server.url}/docs/").status_code == 404  # no redirect to the address behind the proxy
    httpx.get(f"{server.url}/health", headers={"X-Forwarded-For": "203.0.113.7"})
    wait_until(lambda: " 203.0.113.7 GET /health 200, " in server.log)


def test_the_nginx_of_the_docs(workspace, tmp_path):
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if not nginx or not shutil.which("openssl"):
        pytest.skip("nginx or openssl is not installed")
    key, certificate, port = tmp_path / "tsn.key", tmp_path / "tsn.pem", free_port()
    made = "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext"
    named = "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)
    subprocess.run([*made, *named], check=True, capture_output=True)
    [block] = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL)
    flags = "--token=secret", "--max_upload_mb=1"
    with Server(tmp_path, workspace.config, workspace.weights, *flags) as server:
        for shown, here in (
            ("listen 443 ", f"listen 127.0.0.1:{port} "),
            ("tsn.example.org", "localhost"),
            ("/etc/ssl/certs/tsn.pem", str(certificate)),
            ("/etc/ssl/private/tsn.key", str(key)),
            ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
        ):
            assert block.count(shown) == 1
            block = block.replace(shown, here)
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\nhttp {{ access_log off;\n"
            f"client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;\n{block}}}\n"
        )
        running = subprocess.Popen([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")])
        try:
            wait_until((tmp_path / "pid").exists)
            base = f"https://localhost:{port}"
            headers = {"Authorization": "Bearer secret", "Origin": base}
            context = ssl.create_default_context(cafile=str(certificate))
            with httpx.Client(base_url=f"{base}/tsn/", verify=context, timeout=60) as client:
                assert "<title>Video classification</title>" in client.get("").text
                assert f"{base}/tsn/api/predict" in client.get("docs").text
                assert client.get("api/info").status_code == 401
                video = {"video": workspace.held_out[0][0].read_bytes()}
                assert len(client.post("api/predict", files=video, headers=headers).json()["predictions"]) == 3
                large = client.post("api/predict", files={"video": bytes(5_000_000)}, headers=headers)
                assert (large.status_code, large.json()) == (413, {"error": "the upload is larger than 1 MB"})
        finally:
            running.terminate()
            running.wait(20)


@pytest.fixture
def proxy(server):
    """Provide the address of a proxy that serves the server at /tsn/."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/tsn/"):
                self.send_error(404)
                return
            length = int(self.headers.get("Content-Length", 0))
            headers = {"Content-Type": self.headers["Content-Type"]} if length else {}
            body = self.rfile.read(length) if length else None
            asked = urllib.request.Request(server.url + self.path.removeprefix("/tsn"), body, headers)
            with urllib.request.urlopen(asked) as answer:
                content = answer.read()
            self.send_response(200)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/tsn/"
        running.shutdown()
        thread.join()


def test_the_pages_work_at_any_path(proxy, workspace):
    """All their addresses are relative."""
    page, docs = httpx.get(proxy).text, httpx.get(f"{proxy}docs").text
    named = re.findall(r'(?:href|src|action)="([^"]*)"|(?:fetch|open)\((?:"POST", )?[`"]([^`"?]*)', page + docs)
    addresses = {a or b for a, b in named} - {"data:,"}
    assert addresses == {"docs", "api/predict", "api/info", "openapi.json", "./"}
    for address in addresses - {"api/predict"}:
        assert httpx.get(proxy + address).status_code == 200
    assert httpx.get(f"{proxy}openapi.json").json()["servers"] == [{"url": "./"}]
    with open(workspace.held_out[0][0], "rb") as video:
        answer = httpx.post(f"{proxy}api/predict?frames=true", files={"video": video}, timeout=60).json()
    assert len(answer["predictions"]) == 3 and len(answer["frames"]) == 3
