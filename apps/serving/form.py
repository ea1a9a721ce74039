"""Parse a form with one file while its bytes arrive."""

import re

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from apps.serving.body import ENDED
from apps.serving.quotas import CONTENT_TYPE, PART_HEADERS, PARTS, Refusal

FIELD = "video"
_LONGEST_NAME = 255  # of a file, in characters


class Form:
    """A form whose field `video` is returned; other fields are ignored."""

    def __init__(self, content_type: str):
        """Raise Refusal if the content type is not a form with files."""
        if len(content_type) > CONTENT_TYPE:
            raise Refusal(415, f"the type of the body is longer than {CONTENT_TYPE} bytes")
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Refusal(415, f"expected a form, multipart/form-data, with a file in its field `{FIELD}`")
        names = ("part_begin", "part_data", "header_field", "header_value", "header_end", "headers_finished", "end")
        callbacks = {f"on_{name}": getattr(self, f"_{name}") for name in names}
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError:
            raise Refusal(400, "the boundary of the form is too long") from None
        self._content, self._ended = bytearray(), False
        self._name: str | None = None
        self._current = False  # whether the part is the video
        self._parts = self._header_bytes = 0  # the header bytes of the current part

    def parse(self, data: bytes) -> bytes:
        """Return the bytes of the data that belong to the video. Raises Refusal if this is no form."""
        self._content.clear()
        try:
            self._parser.write(data)
        except FormParserError:
            raise Refusal(400, "the form is damaged") from None
        return bytes(self._content)

    def end(self) -> str:
        """Return the file's name. Raises Refusal if the form is incomplete or has no video."""
        if not self._ended:
            raise Refusal(400, ENDED)
        if self._name is None:
            raise Refusal(400, f"the form has no field `{FIELD}` with a file")
        return self._name

    def _part_begin(self) -> None:
        self._parts, self._header_bytes = self._parts + 1, 0
        if self._parts > PARTS:
            raise Refusal(400, f"the form has more than {PARTS} parts")
        self._current, self._disposition = False, b""
        self._header, self._value = bytearray(), bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, size: int) -> None:
        # The parser's own limit is per header; before version 0.0.27 it has none.
        self._header_bytes += size
        if self._header_bytes > PART_HEADERS:
            raise Refusal(400, "the form is damaged")

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode():
            return
        if self._name is not None:
            raise Refusal(400, f"the form has more than one field `{FIELD}`")
        self._current, self._name = True, _file_name(options.get(b"filename", b""))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current:
            self._content += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _file_name(given: bytes) -> str:
    """Return the last part of a path, as text without control characters, or "video" if nothing is left."""
    name = re.split(r"[/\\]", given.decode("utf-8", "replace"))[-1]
    return "".join(c if c.isprintable() else " " for c in name).strip()[:_LONGEST_NAME] or FIELD
