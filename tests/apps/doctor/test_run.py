"""bash run.sh doctor in a copy of the toolkit with broken parts, and the programs that it measures with."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import narrow
from apps.doctor import __main__ as doctor
from apps.doctor import checks, programs, ways
from apps.doctor.__main__ import LEGEND, check_ways
from apps.doctor.checks import CheckRow, ProgramResult
from conftest import ROOT, says
from fork_server import start_python
from utils.errors import RunError
from utils.processes.device import FOR_GPUS, INSTALL_FOR_GPUS

CRASH = """    def __enter__(self) -> "Loader":
        if self._spec.decoder == "pyav":
            import os
            os.kill(os.getpid(), 11)
"""
TRIED = "read, pyav", "read, opencv", "read, decord", "train, GPU, amp O1 bfloat16"


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> subprocess.CompletedProcess:
    """Provide the ended doctor of a toolkit whose readers with PyAV crash, without decord. It tries the ways TRIED."""
    folder = tmp_path_factory.mktemp("doctor")
    for room in ("apps", "inference", "metrics", "models", "reader", "training", "utils", "configs"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("run.sh", *(f"requirements{kind}.txt" for kind in ("", "-gpu", "-cluster", "-int8"))):
        shutil.copy(ROOT / file, folder)
    loader, old = folder / "reader/loader.py", '    def __enter__(self) -> "Loader":\n'
    assert loader.read_text().count(old) == 1
    loader.write_text(loader.read_text().replace(old, CRASH))
    with open(folder / "apps/doctor/ways.py", "a") as file:
        file.write(f"\nWAYS = tuple(way for way in WAYS if way.name in {TRIED})\n")
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text("import sys\nsys.modules['decord'] = None\n")
    environment = os.environ | {
        "VIRTUAL_ENV": sys.prefix,
        "PYTHONPATH": str(folder / "site"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = ["bash", str(folder / "run.sh"), "doctor"]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=240)


def test_broken_parts_fail_with_a_remedy(broken):
    assert broken.returncode == 1
    says(broken.stderr.splitlines()[-1], "error: ", "2 of 7 checks", "read, pyav; read, decord")
    lines = [re.sub(r" {2,}", " # ", line) for line in broken.stdout.splitlines()]
    table = lines[lines.index("") + 1 :]
    install = "pip install --force-reinstall -r requirements.txt"
    expected = [
        r"check # result # images/s # distance",
        r"packages of requirements.txt # ok",
        r"Paddle # ok",
        r"GPU # not checked # no GPU",
        rf"read, pyav # FAILED # it ended with signal 11 \(Segmentation fault\)\. What to do: {install}",
        r"read, opencv # ok",
        r"read, decord # FAILED # decoder decord needs the package decord, which .+: pip install -r requirements.txt\. "
        r"What to do: pip install -r requirements.txt, or leave MODEL.decoder at auto",
        r"train, GPU, amp O1 bfloat16 # not checked # no GPU",
        r"",
        r"3 ok, 2 failed, 2 not checked",
        *(re.escape(re.sub(r" {2,}", " # ", line)) for line in LEGEND.splitlines()),
    ]
    assert len(table) == len(expected)
    for line, pattern in zip(table, expected):
        assert re.fullmatch(pattern, line), line


def test_the_facts_about_the_machine_are_printed(broken):
    about = dict(re.split(r" {2,}", line, maxsplit=1) for line in broken.stdout.split("\n\n")[0].splitlines())
    assert about.keys() == {"system", "processor", "memory", "disk", "Paddle", "GPU", "OpenVINO", "packages"}
    assert "built for the CPU" in about["Paddle"] or "CUDA" in about["Paddle"]


def test_a_check_that_hangs_is_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "TIME_LIMIT", 0.05)
    abilities = ways.Abilities(1, False, False, 0, False, False)
    [row] = check_ways(abilities, tmp_path, ways.WAYS[:1])
    remedy = "pip install --force-reinstall -r requirements.txt"
    assert row == CheckRow("read, pyav", "FAILED", f"it was still running at the time limit. What to do: {remedy}")


def test_a_way_without_its_reference_is_not_run(tmp_path):
    [way] = [way for way in ways.WAYS if way.name == "train, CPU, oneDNN"]
    [row] = check_ways(ways.Abilities(1, False, False, 0, False, False), tmp_path, [way])
    assert row == CheckRow(way.name, "not checked", "'train, CPU, eager' failed, so there is nothing to compare with")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Iterator[Path]:
    """Provide a folder with the weights that all ways load. While they are in use, networks are narrow."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        narrow.narrow_here(patch.setattr)
        about = programs.describe_paddle(folder)
        assert about["version"] and about["gpus"] == []
        yield folder


def launch_narrow(command, environment, out, err):
    """Start a program of the doctor with a narrow network."""
    program = "import narrow; narrow.narrow_here(setattr); from apps.doctor import programs; programs.main()"
    path = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]; "
    return start_python(["-c", path + program, *command[2:]], dict(environment), out, err, kind="train")


def test_wrong_numbers_fail(weights, tmp_path, monkeypatch):
    """OpenVINO gets a classifier with other weights than Paddle's own kernels."""
    import paddle

    monkeypatch.setattr(checks, "launch", launch_narrow)
    shutil.copy(weights / programs.WEIGHTS, tmp_path)
    tried = [way for way in ways.WAYS if way.name in ("predict, CPU, eager", "predict, CPU, OpenVINO, float32")]
    rows = check_ways(ways.Abilities(1, False, False, 0, False, False), tmp_path, tried)
    eager = next(rows)
    assert (eager.result, eager.text, eager.distance) == ("ok", "", None) and eager.images_per_second > 0
    state = paddle.load(str(tmp_path / programs.WEIGHTS))
    paddle.save({name: w * 1.01 if name.startswith("fc.") else w for name, w in state.items()},
                str(tmp_path / programs.WEIGHTS))  # fmt: skip
    row = next(rows)
    assert row.result == "FAILED" and row.images_per_second > 0 and row.distance == pytest.approx(0.01, rel=0.01)
    assert row.text == (
        "wrong numbers: its logits have distance 0.01 to those of 'predict, CPU, eager'; rounding explains up to "
        "0.001. What to do: pip install --force-reinstall -r requirements.txt"
    )


def test_training_learns_and_its_numbers_are_compared(weights, monkeypatch):
    monkeypatch.setitem(programs.TIMED_VIDEOS, "cpu", 1)
    numbers, speed = programs.train(weights, device="cpu", engine="eager")
    assert numbers["losses"][1] < numbers["losses"][0] and speed > 0
    assert len(numbers["norms"]) == 62 and (numbers["norms"] > 0).all()
    [way] = [way for way in ways.WAYS if way.name == "train, CPU, oneDNN"]
    assert ways.judge(way, ways.Outcome(0, "", numbers), numbers) == ("", 0.0)
    other = numbers | {"changes": numbers["changes"] * 1.05}
    assert ways.judge(way, ways.Outcome(0, "", other), numbers)[0].startswith(
        "wrong numbers: its changes have distance 0.05 to those of "
    )


def test_copies_arrive_as_they_were_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "COPIES", 2)
    numbers, speed = programs.copies(tmp_path, device="cpu")
    assert numbers == {} and speed > 0
    from training import amp

    real = amp.on_device

    def late(batches, where):
        for batch, frames, labels, waited in real(batches, where):
            yield batch, frames * 0, labels, waited

    monkeypatch.setattr(amp, "on_device", late)
    with pytest.raises(RunError, match="^batch 0 of 2 was changed by the copy to the device$"):
        programs.copies(tmp_path, device="cpu")


def test_clips_are_the_same_everywhere_and_differ_by_seed():
    assert (programs.clips(2, 0) == programs.clips(2, 0)).all() and (programs.clips(2, 0) != programs.clips(2, 1)).any()
    assert int(programs.clips(2, 0).sum(dtype="int64")) == 3_058_560


def test_int8_is_calibrated_with_its_own_videos(weights, monkeypatch):
    pytest.importorskip("nncf")
    monkeypatch.setenv("PADDLE_TSN_CACHE", "off")
    [way] = [way for way in ways.WAYS if way.name == "predict, CPU, OpenVINO, int8"]
    expected, _ = programs.predict_eager(weights)
    numbers, _ = programs.predict(weights, precision="int8")
    problem, far = ways.judge(way, ways.Outcome(0, "", numbers), expected)
    assert problem == "" and far > ways.HALF["logits"] / 10


def test_the_remedy_for_a_gpu_build_is_a_gpu_build(tmp_path, monkeypatch, capsys):
    """This holds even if it cannot be imported, because CUDA is missing."""
    for module in (doctor, checks):
        monkeypatch.setattr(module, "has_gpu_build", lambda: True)
    monkeypatch.setattr(doctor, "package_problem", lambda requirements: f"something of {requirements} is missing")
    monkeypatch.setattr(doctor, "start", lambda command, folder: ProgramResult(1, "", "ImportError: libcudart.so.12"))
    packages, paddle = doctor.examine(tmp_path)
    capsys.readouterr()
    assert packages.name == "packages of requirements-gpu.txt"
    assert packages.text == f"something of requirements-gpu.txt is missing. What to do: {INSTALL_FOR_GPUS}"
    assert paddle.text == f"ImportError: libcudart.so.12. What to do: pip install --force-reinstall {FOR_GPUS}"
