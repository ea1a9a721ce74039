"""Test the choice of the precision on processors, and on simulated GPUs."""

import pytest

from conftest import says
from utils.errors import InputError
from utils.processes import precision
from utils.processes.precision import choose_gpu_precision, choose_precision, describe_gpu_precision


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
        ("avx512f avx512_bf16", "int8", "int8"),
    ],
)
def test_choice(monkeypatch, features, wanted, chosen):
    monkeypatch.setattr("utils.processor.processor", lambda: features)
    assert choose_precision(wanted) == chosen


def test_bfloat16_is_refused_where_it_would_be_emulated(monkeypatch):
    monkeypatch.setattr("utils.processor.processor", lambda: "avx2")
    with pytest.raises(InputError) as raised:
        choose_precision("bfloat16")
    says(raised.value, "--precision=bfloat16: ", "this processor", "amx_bf16 or avx512_bf16", "float32 is the fastest")


@pytest.mark.parametrize("features, fastest", [("avx2", "float32"), ("avx512_bf16", "bfloat16")])
def test_float16_is_for_gpus(monkeypatch, features, fastest):
    monkeypatch.setattr("utils.processor.processor", lambda: features)
    with pytest.raises(InputError) as raised:
        choose_precision("float16")
    says(raised.value, "--precision=float16 ", "for a GPU", f" {fastest} is the fastest", "on the CPU")


# The types that GPUs compute in, by generation.
PASCAL, VOLTA, AMPERE = (), ("float16",), ("float16", "bfloat16")


@pytest.mark.parametrize("has, wanted, chosen", [
    (AMPERE, "auto", "bfloat16"), (VOLTA, "auto", "float32"), (PASCAL, "auto", "float32"),
    (AMPERE, "bfloat16", "bfloat16"), (AMPERE, "float16", "float16"), (VOLTA, "float16", "float16"),
    (AMPERE, "float32", "float32"), (AMPERE, "int8", "float32"),
])  # fmt: skip
def test_choice_on_a_gpu(monkeypatch, has, wanted, chosen):
    monkeypatch.setattr(precision, "gpu_has", lambda dtype: dtype in has)
    assert choose_gpu_precision(wanted) == chosen


@pytest.mark.parametrize("has, wanted, needs, fastest", [
    (VOLTA, "bfloat16", "8.0", "float16"), (PASCAL, "bfloat16", "8.0", "float32"),
    (PASCAL, "float16", "7.0", "float32"),
])  # fmt: skip
def test_what_a_gpu_does_not_have_is_refused(monkeypatch, has, wanted, needs, fastest):
    monkeypatch.setattr(precision, "gpu_has", lambda dtype: dtype in has)
    with pytest.raises(InputError) as raised:
        choose_gpu_precision(wanted)
    says(raised.value, f"--precision={wanted}: ", "this GPU", f"capability {needs} ", f" {fastest} is the fastest")


@pytest.mark.parametrize("has, chosen, override, name", [
    (AMPERE, "float32", None, "float32 (TF32)"), (AMPERE, "float32", "1", "float32 (TF32)"),
    (AMPERE, "float32", "0", "float32"), (VOLTA, "float32", None, "float32"), (AMPERE, "bfloat16", None, "bfloat16"),
])  # fmt: skip
def test_tf32_is_named(monkeypatch, has, chosen, override, name):
    monkeypatch.setattr(precision, "gpu_has", lambda dtype: dtype in has)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override is not None:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    assert describe_gpu_precision(chosen) == name
