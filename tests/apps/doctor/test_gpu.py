"""bash run.sh doctor --gpu, made small on the CPU: each program, each run of a script, and the rows of its table."""

import json
import re
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

import paddle
import pytest

import narrow
from apps.doctor import __main__ as doctor
from apps.doctor import checks, gpu, gpu_programs
from apps.doctor.checks import CheckRow, ProgramResult
from apps.doctor.gpu import Plan, Trial, measured, recommended, trained, tried
from apps.doctor.ways import ON_CPU, ONE_GPU, Abilities, remedy
from conftest import ROOT, says, start_python
from fake_gpu import FakeGpu
from training import amp
from utils.config.flags import parse_flags
from utils.config.loading import load_config
from utils.errors import RunError
from utils.processes.device import INSTALL_FOR_GPUS

EVERYTHING = Abilities(cores=8, bfloat16=True, nncf=True, gpus=2, gpu_bfloat16=True, gpu_float16=True)
TINY = ("--config=configs/tsn_demo.yaml", "--set", "MODEL.seg_num=3")
# Without the class names of the demo, which make_demo.py writes.
PLAYED = (*TINY, "--use_gpu=False", "--set", "TRAIN.engine=onednn", "--set", "INFER.kinetics_labels=")
OUT = "Out of memory error on GPU 0. Cannot allocate 1GB memory on GPU 0, available memory is only 7MB."


def configured(*words: str):
    """Return (flags, configuration) of a program."""
    flags = parse_flags("train", words)
    return flags, load_config(flags.config, flags.section_overrides, flags.sets)


@pytest.fixture
def small(monkeypatch) -> None:
    """Use narrow networks and short epochs."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(gpu_programs, "STEPS", 5)
    monkeypatch.setattr(gpu, "INTERVAL", 1)
    narrow.narrow(monkeypatch.setattr)


@pytest.fixture
def played(small, monkeypatch) -> FakeGpu:
    """Provide a fake GPU. Paddle reports that it allocated 2.5 GB."""
    played = FakeGpu(done=True).install(monkeypatch)
    monkeypatch.setattr(gpu_programs, "choose_device", lambda wanted, demanded: "gpu")
    monkeypatch.setattr(gpu_programs, "use_device", lambda device: None)
    monkeypatch.setattr(amp, "gpu_has", lambda dtype: True)
    monkeypatch.setattr(paddle, "set_flags", lambda flags: None)
    monkeypatch.setattr(paddle.device.cuda, "max_memory_allocated", lambda: 2_500_000_000)
    return played


@pytest.mark.parametrize("keys, dtypes", [
    (("TRAIN.amp=off", "TRAIN.channels_last=False"), []),
    (("TRAIN.amp=off", "TRAIN.channels_last=True"), []),
    (("TRAIN.amp=O1", "TRAIN.amp_dtype=bfloat16", "TRAIN.channels_last=False"), ["bfloat16"]),
])  # fmt: skip
def test_steps_from_memory_are_measured(played, monkeypatch, keys, dtypes):
    casts = []
    monkeypatch.setattr(paddle.amp, "auto_cast", lambda **how: casts.append(how["dtype"]) or nullcontext())
    assert {*keys} in [{*trial.keys} for trial in measured(Plan(Path(), 1))]
    found = gpu_programs.memory(*configured(*TINY, "--batch_size=2", *gpu.sets(keys)))
    assert found["gigabytes"] == 2.5 and found["images_per_second"] > 0 and casts == 5 * dtypes
    assert played.streams == 1 and played.log.count("compute waits") == 5


def copied() -> dict:
    return gpu_programs.copies(*configured(*TINY, "--batch_size=2", "--set", "TRAIN.amp=off"))


def test_asynchronous_copies_are_compared_with_blocking_ones_to_the_bit(played, monkeypatch):
    found = copied()
    assert re.fullmatch(r"the same bits as with blocking copies at [\d.]+ images/s", found["text"])
    assert played.log.count("compute waits") == 5 and found["images_per_second"] > 0

    def torn(tensor: paddle.Tensor, blocking: bool) -> paddle.Tensor:
        return paddle.zeros_like(tensor) if tensor.ndim == 5 else tensor.clone()

    monkeypatch.setattr(paddle.Tensor, "cuda", torn)
    with pytest.raises(RunError, match="^asynchronous copies lead to other weights than blocking copies$"):
        copied()


def test_copies_are_not_checked_if_runs_differ_anyway(played, monkeypatch):
    numbers = iter(range(9))
    monkeypatch.setattr(gpu_programs, "trained", lambda *_, **how: (next(numbers), 1.0))
    expected = "even two runs with blocking copies differ"
    assert copied() == {"result": "not checked", "text": expected}
    trial = Trial("copies", ("python",), found=gpu.said)
    monkeypatch.setattr(gpu, "start", lambda *_: ProgramResult(0, json.dumps(copied())))
    assert tried(trial, EVERYTHING, Path()) == CheckRow("copies", "not checked", expected)


def launch_narrow(command, environment, out, err):
    """Start a command; a script has a narrow network and pauses after its first step."""
    if command[1] not in ("train.py", "eval.py", "apps/doctor/gpu_programs.py"):
        return checks_launch(command, environment, out, err)
    script = command[1].removesuffix(".py")
    environment |= {"OMP_NUM_THREADS": "1", "TSN_TEST_SCRIPT": script, "TSN_TEST_REST": "Epoch 0, iter 0"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    program = "small_reduce" if "/" in script else "narrow"
    return start_python([str(ROOT / f"tests/{program}.py"), *command[2:]], environment, out, err, kind="train")


checks_launch = checks.launch


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[str, CheckRow]:
    """Return the rows of trials that can run on the CPU, by name. Those for several GPUs use two processes."""
    folder = tmp_path_factory.mktemp("gpus")
    plans = [Plan(folder, number, ("TRAIN.amp=off",), (*PLAYED, f"--nproc={number}"), videos=2) for number in (1, 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(gpu, "INTERVAL", 1)
        patch.setattr(gpu_programs, "STEPS", 5)
        patch.setattr(gpu_programs, "FRAMES", 50)
        patch.setattr(checks, "launch", launch_narrow)
        gpu_programs.clips(*configured(*PLAYED, "--batch_size=4", "--set", f"TRAIN.filelist={folder / 'clips.list'}"))
        of_plans = [[*measured(plan), *trained(plan, ("TRAIN.amp=off",), 1e6)] for plan in plans]
        trials = [several if "GPUs" in several.needs else one for one, several in zip(*of_plans)]
        elsewhere = ("GPUs", "from memory", "copies", "real clips", "train on all GPUs, clips re-encoded")
        chosen = [trial for trial in trials if not trial.name.startswith(elsewhere)]
        return {trial.name: tried(trial, EVERYTHING, folder) for trial in chosen}


def test_all_runs_of_the_scripts_end_as_they_must(rows):
    assert {name: row.text for name, row in rows.items() if row.result != "ok"} == {}


@pytest.mark.parametrize("name, text", [
    ("/dev/shm", r"[\d.]+ GB"),
    ("all_reduce", r"1 MB: [\d.]+ GB/s, 2 MB: [\d.]+ GB/s, 4 MB: [\d.]+ GB/s"),
    ("train on all GPUs, real clips", r"waits for data \d+% of the time with \d+ readers per device.*"),
    ("clips re-encoded", r"reading 3 frames: [\d.]+ -> [\d.]+ videos/s and core \([\d.]+x, 8 videos tried\)"),
    ("train, O2, resumed", r"epoch 0, iter [1-5]"),
    ("evaluate what O2 has trained", r"loss [\d.]+"),
])  # fmt: skip
def test_the_text_of_a_row(rows, name, text):
    assert re.fullmatch(text, rows[name].text)


def test_every_command_is_known_to_its_script(monkeypatch, capsys):
    """Check all flags and keys that --dry-run prints."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["doctor", "--gpu", "--dry-run"])
    doctor.main()
    plan = Plan(Path("FOLDER"), 2)
    listed, trials = capsys.readouterr().out.splitlines(), [*measured(plan), *trained(plan, ("TRAIN.amp=auto",), None)]
    assert listed == [str(trial) for trial in trials] and len({trial.name for trial in trials}) == len(trials)
    for trial in trials:
        program, script, *words = trial.command
        assert trial.name in str(trial) and shlex.split(str(trial).split("  ")[-1])[-len(words) :] == words
        assert EVERYTHING.missing(trial) == "" and "{" not in remedy(trial.remedy, True)
        if program != "python":
            continue
        assert (ROOT / script).exists()
        if script == "apps/doctor/gpu_programs.py":
            assert words.pop(0) in gpu_programs.PROGRAMS
        if script == "data/reencode.py":
            assert " ".join(words).endswith("--out FOLDER/reencoded --short_side 256 --keyint 12")
            continue
        flags = parse_flags("eval" if script == "eval.py" else "train", words)
        config = load_config(flags.config, flags.section_overrides, flags.sets)
        assert config.demands_gpu and (config.model.num_layers, config.train.image_size) == (50, 224)
        assert config.train.seg_num == gpu.SEGMENTS
    assert gpu_programs.STEPS == 4 * gpu.INTERVAL + 1


def test_dry_run_is_for_gpu(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["doctor", "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    assert ended.value.code == 2 and capsys.readouterr().err.endswith("error: --dry-run is for --gpu\n")


@pytest.mark.parametrize("listed, why", [
    ([], ["there is none here", "CUDA_VISIBLE_DEVICES"]),
    (["GPU 0: NVIDIA H100"], ["lists 1 (GPU 0: NVIDIA H100)", "this Paddle is built for the CPU", INSTALL_FOR_GPUS]),
])  # fmt: skip
def test_without_a_gpu_a_line_says_what_it_needs(tmp_path, monkeypatch, capsys, listed, why):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(doctor, "check_paddle", lambda folder: (CheckRow("Paddle", "ok"), {"gpus": [], "cuda": ""}))
    monkeypatch.setattr(doctor, "listed_gpus", lambda: listed)
    with pytest.raises(RunError) as raised:
        next(doctor.examine(tmp_path, on_gpus=True))
    says(raised.value, "--gpu ", "a GPU that Paddle sees", *why, "--gpu --dry-run")
    assert capsys.readouterr().out == ""


def test_on_gpus_the_trials_stand_in_place_of_the_ways(tmp_path, monkeypatch, capsys):
    """The GPU has no bfloat16. The fastest way is recommended, and used in the trials that train."""
    about = {"gpus": ["Tesla T4, 16 GB"], "cuda": "12.6", "gpu_bfloat16": False, "gpu_float16": True}
    monkeypatch.setattr(doctor, "check_paddle", lambda folder: (CheckRow("Paddle", "ok"), about))
    monkeypatch.setattr(doctor, "describe", lambda about: [])
    monkeypatch.setattr(doctor, "package_problem", lambda requirements: "")
    monkeypatch.setattr(doctor, "listed_gpus", lambda: ["GPU 0: Tesla T4"])
    commands, rates = [], {"TRAIN.amp=off": 100.0, "TRAIN.amp=O1": 300.0, "TRAIN.amp=O2": 305.0}

    def start(command, *_):
        commands.append(shlex.join(command))
        if "memory" not in command:
            return ProgramResult(1, "", "error: it is a fake")
        rate = next(rates[key] for key in rates if key in command)
        return ProgramResult(0, json.dumps({"images_per_second": rate, "gigabytes": 2.5}))

    monkeypatch.setattr(gpu, "start", start)
    rows = {row.name: row for row in doctor.examine(tmp_path, on_gpus=True)}
    head = capsys.readouterr().out.splitlines()[-1]
    assert head == checks.COLUMNS.format("check", "result", "images/s", "GB", "").rstrip()
    assert "read, pyav" not in rows and str(rows["from memory, float32"]).split()[-3:] == ["ok", "100.0", "2.5"]
    assert rows["all_reduce"] == CheckRow("all_reduce", "not checked", "only one GPU")
    assert rows["from memory, O1 bfloat16"].text == "this GPU has no bfloat16"
    best = "--set TRAIN.amp=O1 --set TRAIN.amp_dtype=float16 --set TRAIN.channels_last=False"
    assert rows["recommended"] == CheckRow("recommended", "ok", best, 300.0)
    runs = [command for command in commands if "train.py" in command]
    assert len(runs) == 4 and all(run.endswith(best) for run in runs[:2])
    assert all(run.endswith("--set TRAIN.amp=O2 --set TRAIN.amp_dtype=float16") for run in runs[2:])
    assert rows["train on all GPUs, real clips"].text == f"it is a fake. What to do: {ON_CPU}"


def test_the_remedy_with_one_gpu_is_not_to_use_one():
    for devices, expected in ((1, ON_CPU), (2, ONE_GPU)):
        trials = {trial.name: trial for trial in trained(Plan(Path(), devices), (), None)}
        assert trials["train on all GPUs, real clips"].remedy == expected


@pytest.mark.parametrize("rates, keys, rate", [
    ({}, ("TRAIN.amp=off",), None),
    ({("off",): 100.0, ("O1",): 400.0, ("O2",): 410.0}, ("O1",), 400.0),
    ({("off",): 100.0, ("O1",): 400.0, ("O2",): 420.0}, ("O2",), 420.0),
    ({("off",): 100.0, ("O1",): 90.0}, ("off",), 100.0),
])  # fmt: skip
def test_the_simplest_of_the_fastest_ways_is_recommended(rates, keys, rate):
    assert recommended(rates) == (keys, rate)


KILLED = Trial("killed", ("python",), "TRAIN.amp: off", ends=1, says="rank 1 ")
LINE = "error: rank 1 of 2 was killed by signal 9 (SIGKILL); all ranks were ended; its last lines: none"
FULL = f"error: out of memory on the gpu: {OUT}: a smaller TRAIN.batch_size needs less"


@pytest.mark.parametrize("ended, result, text", [
    (ProgramResult(1, "", LINE), "ok", ""),
    (ProgramResult(0, ""), "FAILED", "it ended with exit code 0 instead of 1. What to do: TRAIN.amp: off"),
    (ProgramResult(None), "FAILED", "it was still running at the time limit. What to do: TRAIN.amp: off"),
    (ProgramResult(-11), "FAILED", "it ended with signal 11 (Segmentation fault). What to do: TRAIN.amp: off"),
    (ProgramResult(1, "", "error: no NCCL"), "FAILED", "no NCCL. What to do: TRAIN.amp: off"),
    (
        ProgramResult(1, "", LINE, (17, 18)), "FAILED",
        "2 ranks keep running without the others. What to do: kill -9 17 18",
    ),
    (ProgramResult(1, "", FULL), "FAILED", FULL.removeprefix("error: ")),
])  # fmt: skip
def test_the_row_of_a_trial_that_ended(monkeypatch, ended, result, text):
    monkeypatch.setattr(gpu, "start", lambda *_: ended)
    assert tried(KILLED, EVERYTHING, Path()) == CheckRow("killed", result, text)


def test_a_missing_program_is_not_a_failure():
    row = tried(Trial("GPUs", ("nvidia-smi-is-not-there",)), EVERYTHING, Path())
    assert row == CheckRow("GPUs", "not checked", "there is no nvidia-smi-is-not-there")


@pytest.mark.parametrize("waits, full, text", [
    (0.05, 4800.0, "waits for data 5% of the time with 4 readers per device"),
    (0.5, 4800.0, "waits for data 50% of the time with 4 readers per device; 16 would be enough"),
    (0.5, 600.0, "waits for data 50% of the time with 4 readers per device; 4 would be enough"),
    (0.5, None, "waits for data 50% of the time with 4 readers per device"),
])  # fmt: skip
def test_how_many_readers_would_do(tmp_path, monkeypatch, waits, full, text):
    """The first lines of the log do not count, because the readers were ahead."""
    lines = [{"resumed": [0, 0]}, *({"mode": "train", "videos_per_second": 9000.0, "data_wait": 0.0} for _ in range(2))]
    lines += [{"mode": "train", "videos_per_second": rate, "data_wait": waits} for rate in (300.0, 600.0)]
    (tmp_path / "train_log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    monkeypatch.setattr(gpu, "worker_count", lambda asked, videos, devices: {"auto": 8 // devices}[asked])
    found = gpu.waiting(tmp_path, ProgramResult(0), full, 2)
    assert found == {"images_per_second": pytest.approx(3 * 400.0), "text": text}


@pytest.mark.parametrize("kilobytes, problem", [(65536, "0.06 GB may be too little for NCCL"), (2**21, "")])
def test_little_shared_memory_is_a_problem(monkeypatch, kilobytes, problem):
    said = f"Filesystem 1024-blocks Used Available Capacity Mounted on\nshm {kilobytes} 0 {kilobytes} 0% /dev/shm\n"
    monkeypatch.setattr(gpu, "start", lambda *_: ProgramResult(0, said))
    [trial] = [trial for trial in measured(Plan(Path(), 1)) if trial.name == "/dev/shm"]
    row = tried(trial, EVERYTHING, Path())
    assert row.text == (f"{problem}. What to do: {trial.remedy}" if problem else "2.0 GB")


def test_a_run_without_a_checkpoint_was_not_resumed():
    with pytest.raises(RunError, match="^the run left no checkpoint to resume from$"):
        gpu.resumed(ProgramResult(0, "training on 5 videos\n"))


def test_a_loss_of_nan_is_no_success(tmp_path):
    (tmp_path / "metrics.json").write_text('{"loss": NaN}')
    with pytest.raises(RunError, match="^its loss is nan$"):
        gpu.scored(tmp_path / "metrics.json")
