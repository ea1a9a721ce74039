"""Test lines of JSON: whole, torn and damaged ones, and the end of the last whole one."""

import io
import math

import pytest

from utils.storage.lines import end_of_lines, parsed, to_line


@pytest.mark.parametrize("values", [{}, {"video": "a \udcff é\n.mp4", "file": [1, 2]}, {"x": 0.1 + 0.2, "y": None}])
def test_a_line_comes_back(values):
    line = to_line(values)
    assert line.endswith("\n") and line.count("\n") == 1 and parsed(line.encode("ascii")) == values


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_no_json_is_not_written(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_line({"loss": number})


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b'{"a": 1}', b'{"a": 1\n', b"\0" * 9 + b"\n", b"[1]\n", b"7\n", b'{"a": "\xc3\xa9"}\n',
     b"[" * 100_000 + b"\n", b'{"a": ' + b"9" * 10_000 + b"}\n"],
)  # fmt: skip
def test_a_torn_or_damaged_line_is_none(line):
    assert parsed(line) is None


@pytest.mark.parametrize("tail", [0, 1, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("whole", [b"", b"{}\n", b"{}\n" * 40_000])
def test_the_end_of_the_last_whole_line(whole, tail):
    assert end_of_lines(io.BytesIO(whole + b"\0" * tail)) == len(whole)
