"""The two pages of the server, each a single file without an address outside it."""

import html


def front_page() -> str:
    return "<!doctype html><title>x</title>"


def docs_page(schema: dict) -> str:
    return "<!doctype html><title>x</title>" + html.escape(str(schema))
