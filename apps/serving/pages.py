"""Build the server's two pages, which are self-contained and ask nothing of any other address.

Their own addresses are relative, because a proxy may serve them at any path.
"""

import base64
import hashlib
import json
from html import escape
from pathlib import Path

_TEMPLATES = Path(__file__).with_name("templates")
_SCRIPTS = ("words.js", "answer.js", "queue.js", "camera.js", "page.js")  # in order; the last one starts the others
_SHARED_SCRIPTS = ("language.js", "saving.js")
_SHARED = Path(__file__).parents[2] / "results/pages/templates"  # shared with the results' pages

_DOCS_LEAD = """<header><p class="kind">Video classification</p><h1>For programs</h1>
<p class="lead">The same as a file for generators of clients: <a href="openapi.json">/openapi.json</a>.
The page for people: <a href="./">/</a>.</p></header>"""
_EXAMPLE = """curl -F video=@clip.mp4 {0}/api/predict
# with --token
curl -F video=@clip.mp4 -H "Authorization: Bearer $TOKEN" {0}/api/predict"""


def front_page() -> str:
    """Return the page for dropping videos."""
    return _page(
        "Video classification", _read("page.html"), "".join([*map(_shared, _SHARED_SCRIPTS), *map(_read, _SCRIPTS)])
    )


def docs_page(schema: dict, address: str) -> str:
    """Return a readable page of the OpenAPI document `schema`. address: where people find the server."""
    example = escape(_EXAMPLE.format(address))
    parts = [_DOCS_LEAD, f'<main><section><h2>Try it</h2><pre tabindex="0">{example}</pre></section>']
    for path, methods in schema["paths"].items():
        parts += [_operation(method, path, about) for method, about in methods.items()]
    parts += [_fields(name, about) for name, about in schema["components"]["schemas"].items()]
    return _page("Video classification, for programs", "\n".join([*parts, "</main>"]), "")


def _operation(method: str, path: str, about: dict) -> str:
    rows = [(f"{p['name']} ({p['in']})", p.get("description", "")) for p in about.get("parameters", ())]
    for kind, content in about.get("requestBody", {}).get("content", {}).items():
        fields = content["schema"]["properties"].items()
        rows += [(f"{name} (field of {kind})", field.get("description", "")) for name, field in fields]
    responses = [(status, _meaning(response)) for status, response in about["responses"].items()]
    tables = _table("Parameter", rows) + _table("Status", responses)
    lead = f'<p class="note">{escape(about.get("description", ""))}</p>'
    return f"<section><h2>{escape(method.upper())} {escape(path)}</h2>{lead}{tables}</section>"


def _fields(name: str, about: dict) -> str:
    rows = [(field, kind.get("description", "")) for field, kind in about["properties"].items()]
    lead = f'<p class="note">{escape(about.get("description", ""))}</p>'
    samples = [escape(json.dumps(sample, indent=2)) for sample in about.get("examples", ())]
    shown = "".join(f'<pre tabindex="0">{sample}</pre>' for sample in samples)
    return f"<section><h2>{escape(name)}</h2>{lead}{shown}{_table('Field', rows)}</section>"


def _meaning(response: dict) -> str:
    content = response.get("content", {}).get("application/json", {}).get("schema", {})
    name = content.get("$ref", "").rpartition("/")[2]
    return f"{response['description']}" + (f" → {name}" if name else "")


def _table(head: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in rows)
    columns = f'<tr><th scope="col">{head}</th><th scope="col">Meaning</th></tr>'
    return f'<div class="scroll"><table class="plain"><thead>{columns}</thead><tbody>{cells}</tbody></table></div><br>'


def _page(title: str, body: str, script: str) -> str:
    style = _shared("style.css") + _read("page.css")
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; media-src blob:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _shared(name: str) -> str:
    return (_SHARED / name).read_text("utf-8")
