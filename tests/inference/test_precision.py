"""Which arithmetic runs on which processor."""

import pytest

from inference import precision
from inference.precision import choose_precision, has_bfloat16, processor
from utils.errors import InputError


@pytest.mark.parametrize(
    "features, wanted, chosen",
    [
        ("avx512f avx512_bf16", "auto", "bfloat16"),
        ("amx_tile amx_bf16", "auto", "bfloat16"),
        ("avx512f avx512_bf16", "bfloat16", "bfloat16"),
        ("avx512f avx512_bf16", "float32", "float32"),
        ("avx2 avx512f", "auto", "float32"),
        ("avx2 my_avx512_bf16", "auto", "float32"),
        ("", "auto", "float32"),
        ("", "float32", "float32"),
    ],
)
def test_choice(monkeypatch, features, wanted, chosen):
    monkeypatch.setattr(precision, "processor", lambda: features)
    assert choose_precision(wanted) == chosen


def test_bfloat16_is_refused_where_it_would_be_emulated(monkeypatch):
    monkeypatch.setattr(precision, "processor", lambda: "avx2")
    with pytest.raises(InputError) as raised:
        choose_precision("bfloat16")
    assert str(raised.value) == (
        "--precision=bfloat16: this processor has no arithmetic for it (amx_bf16 or avx512_bf16); "
        "float32 is the fastest here"
    )


def test_elsewhere_than_on_linux(monkeypatch):
    monkeypatch.setattr(precision.Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert processor() == "" and not has_bfloat16()
