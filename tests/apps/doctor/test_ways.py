"""apps/doctor/ways.py: which ways a machine can check, which numbers are wrong, and whether every way can start."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.doctor.checks import COLUMNS, CheckRow
from apps.doctor.programs import PROGRAMS
from apps.doctor.ways import FLOAT32, HALF, WAYS, Abilities, Outcome, judge, remedy
from conftest import ROOT
from documentation import printed_blocks, read_page
from utils.config.loading import load_config
from utils.processes.device import FOR_GPUS

BY_NAME = {way.name: way for way in WAYS}
FLOAT32_WAY, TRAIN, O2 = (
    BY_NAME["predict, CPU, OpenVINO, float32"],
    BY_NAME["train, CPU, oneDNN"],
    "train, GPU, amp O2 float16",
)
EVERYTHING = Abilities(cores=8, bfloat16=True, nncf=True, gpus=8, gpu_bfloat16=True, gpu_float16=True)
NOTHING = Abilities(cores=1, bfloat16=False, nncf=False, gpus=0, gpu_bfloat16=False, gpu_float16=False)
GRADIENT = np.random.default_rng(0).normal(size=1000).astype("float32")
NOISE = np.random.default_rng(1).normal(size=1000).astype("float32")


def test_names_are_unique_and_references_come_first():
    names = [way.name for way in WAYS]
    assert len(set(names)) == len(names)
    assert all(not way.like or names.index(way.like) < names.index(way.name) for way in WAYS)


def test_the_documentation_shows_all_rows_as_printed():
    [shown] = [shown for lines, shown in printed_blocks(read_page("docs/devices.md")) if "bash run.sh doctor" in lines]
    head, *rows, blank, counts = shown.splitlines()
    assert head == COLUMNS.format("check", "result", "images/s", "distance", "").rstrip() and blank == ""
    others = ["packages of requirements.txt", "Paddle", "GPU"]
    assert [re.split(r" {2,}", row)[0] for row in rows] == [*others, *BY_NAME]
    for row in rows:
        name, result, *rest = re.split(r" {2,}", row)
        if result == "ok":
            speed, distance = (float(text) if text else None for text in (*rest, "", "")[:2])
            assert str(CheckRow(name, "ok", "", speed, distance)) == row
        else:
            assert str(CheckRow(name, "not checked", *rest)) == row
    ok, unchecked = (sum(f"  {result} " in f"{row} " for row in rows) for result in ("ok", "not checked"))
    assert counts == f"{ok} ok, 0 failed, {unchecked} not checked"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_options_are_known_to_program_and_configuration(way):
    arguments = inspect.signature(PROGRAMS[way.program]).bind(Path(), **way.options).arguments
    keys = {f"TRAIN.{key}": value for key, value in arguments.get("keys", {}).items()}
    load_config(ROOT / "configs/tsn.yaml", keys)


def test_the_ways_of_a_gpu_are_among_them():
    gpu = " ".join(way.name for way in WAYS if "GPU" in way.needs)
    for word in ("predict, GPU, bfloat16", "predict, GPU, float16", "amp O1 bfloat16", "amp O2 bfloat16",
                 "amp O1 float16", "amp O2 float16", "channels_last", "copies",
                 "NCCL", "sync_batch_norm"):  # fmt: skip
        assert word in gpu
    assert [way.name for way in WAYS if not EVERYTHING.missing(way)] == [way.name for way in WAYS]


@pytest.mark.parametrize("name, abilities, reason", [
    ("train, GPU", NOTHING, "no GPU"),
    ("train, GPUs over NCCL", NOTHING, "no GPU"),
    ("train, GPUs over NCCL", replace(EVERYTHING, gpus=1), "only one GPU"),
    ("train, GPU, amp O1 bfloat16", replace(EVERYTHING, gpu_bfloat16=False), "this GPU has no bfloat16"),
    (O2, replace(EVERYTHING, gpu_bfloat16=False), ""),
    (O2, replace(EVERYTHING, gpu_float16=False), "this GPU has no float16"),
    ("predict, CPU, OpenVINO, bfloat16", NOTHING, "this processor has no bfloat16"),
    ("predict, CPU, OpenVINO, int8", NOTHING, "nncf is not installed: pip install -r requirements-int8.txt"),
    ("predict, CPU, OpenVINO, int8", replace(NOTHING, nncf=True), ""),
    ("predict, CPU, OpenVINO, a stream per core", NOTHING, "only one core"),
    ("train, CPU, oneDNN", NOTHING, ""),
    ("read, pyav", NOTHING, ""),
])  # fmt: skip
def test_ways_that_the_machine_lacks_are_not_checked(name, abilities, reason):
    assert abilities.missing(BY_NAME[name]) == reason


@pytest.mark.parametrize("system, machine, reason", [
    ("Linux", "x86_64", ""), ("Windows", "AMD64", ""), ("Linux", "aarch64", "there is no decord for this platform"),
    ("Darwin", "x86_64", "there is no decord for this platform"),
])  # fmt: skip
def test_decord_is_expected_where_requirements_name_it(system, machine, reason, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert EVERYTHING.missing(BY_NAME["read, decord"]) == reason


@pytest.mark.parametrize("outcome, problem", [
    (Outcome(None, ""), "it was still running at the time limit"),
    (Outcome(-11, ""), "it ended with signal 11 (Segmentation fault)"),
    (Outcome(1, "OSError: libcudnn.so.9 not found"), "OSError: libcudnn.so.9 not found"),
    (Outcome(3, ""), "it ended with exit code 3"),
    (Outcome(0, "", {"logits": np.array([1, np.nan])}), "it computed numbers that are not finite"),
    (Outcome(0, "", {"logits": np.array([1.0, 2.0])}), ""),
    (Outcome(0, "", {"logits": np.array([1.0, 2.01])}), "wrong numbers: its logits have distance 0.0045 to those "
     "of 'predict, CPU, eager'; rounding explains up to 0.001"),
    (Outcome(0, "", {"logits": np.array([1.0, 2.0, 3.0])}), "wrong numbers: its logits have distance inf to those "
     "of 'predict, CPU, eager'; rounding explains up to 0.001"),
    (Outcome(0, ""), "wrong numbers: its logits have distance inf to those of 'predict, CPU, eager'; rounding "
     "explains up to 0.001"),
])  # fmt: skip
def test_verdicts(outcome, problem):
    assert judge(FLOAT32_WAY, outcome, {"logits": np.array([1.0, 2.0])})[0] == problem


@pytest.mark.parametrize("way, found, right", [
    (TRAIN, GRADIENT + 0.001 * NOISE, True),
    (TRAIN, GRADIENT + 0.3 * NOISE, False),  # as rounded to bfloat16, in float32
    (BY_NAME[O2], GRADIENT + 0.33 * NOISE, True),
    (BY_NAME[O2], 2 * GRADIENT, False),  # the loss is still scaled, or a sum instead of a mean
    (BY_NAME[O2], GRADIENT / 2, False),  # a mean instead of a sum over two GPUs
    (BY_NAME[O2], 0 * GRADIENT, False),  # no steps
    (BY_NAME[O2], NOISE, False),
])  # fmt: skip
def test_wrong_gradients_differ_from_rounded_ones(way, found, right):
    expected = {"changes": GRADIENT, "norms": np.array([np.linalg.norm(GRADIENT)])}
    numbers = {"changes": found, "norms": np.array([np.linalg.norm(found)])}
    problem, far = judge(way, Outcome(0, "", numbers), expected)
    assert (problem == "") == right and far > 0


def test_half_precision_has_wider_limits():
    assert all(FLOAT32[name] < HALF[name] for name in FLOAT32)


@pytest.mark.parametrize("gpu_build, packages", [(False, "-r requirements.txt"), (True, FOR_GPUS)])
def test_no_remedy_installs_one_build_over_the_other(gpu_build, packages):
    texts = {way.name: remedy(way.remedy, gpu_build) for way in WAYS}
    assert texts["predict, CPU, eager"] == f"pip install --force-reinstall {packages}"
    assert texts["read, decord"] == f"pip install {packages}, or leave MODEL.decoder at auto"
    installs = [text for text in texts.values() if "pip install" in text]
    assert all(packages in text for text in installs) and "{" not in "".join(texts.values())
