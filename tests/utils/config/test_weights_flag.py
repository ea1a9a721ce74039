"""Test which networks --weights=a*2,b names, also with paths that contain these signs."""

import pytest

from conftest import says
from utils.config.weights_flag import split_weights
from utils.errors import InputError


@pytest.mark.parametrize(
    "text, found",
    [
        (None, []),
        ("", []),
        ("a.pdparams", []),
        ("a*2", []),  # one network: this may be its path
        ("a,b", [("a", 1), ("b", 1)]),
        ("a*2,b*.5", [("a", 2), ("b", 0.5)]),
        ("pptsn,https://host/b.pth*3,c", [("pptsn", 1), ("https://host/b.pth", 3), ("c", 1)]),
        ("with,comma*2", []),
        ("with,comma*2,b", [("with,comma*2", 1), ("b", 1)]),
        ("with,comma*2*2,b", [("with,comma*2", 2), ("b", 1)]),
        ("b,with,comma*2", [("b", 1), ("with,comma*2", 1)]),
        ("x,y", []),  # x,y.pdparams
        ("x,y*3,b", [("x,y", 3), ("b", 1)]),
        ("a*two,b", [("a*two", 1), ("b", 1)]),
    ],
)
def test_networks(tmp_path, monkeypatch, text, found):
    monkeypatch.chdir(tmp_path)
    for name in ("with,comma*2", "x,y.pdparams"):
        (tmp_path / name).touch()
    assert split_weights(text) == found


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("a,", ("--weights=a,: ", "between the commas", "after the last one")),
        ("a,,b", ("--weights=a,,b: ", "between the commas", "after the last one")),
        ("a*0,b", ("a*0: ", "a factor above 0")),
    ],
)
def test_mistakes(text, pieces):
    with pytest.raises(InputError) as error:
        split_weights(text)
    says(error.value, *pieces)
