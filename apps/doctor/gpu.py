"""Measure and try training on GPUs for bash run.sh doctor --gpu, in about ten minutes, each trial a command.

The table that users send back shows what no machine without a GPU can.
"""

import json
import math
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from apps.doctor.checks import CheckRow, ProgramResult, checked, start
from apps.doctor.ways import ON_CPU, ONE_GPU, REINSTALL, WAYS, Abilities, Outcome, judge
from reader.loader import worker_count
from training.waiting import SHARE
from utils.errors import RunError

SEGMENTS = 3  # frames of a video in training, as in configs/tsn.yaml
SMALL_STEPS = "--learning_rate=0.001"  # there is nothing to learn, and no loss may become infinite
INTERVAL = 10  # steps between two lines of the log
WARM = 2  # lines that are left out: cuDNN is still trying its kernels, and readers are ahead
CLOSE = 0.97  # of the fastest rate; the simplest way above this share is chosen
SHARED_MEMORY = 1.0  # GB; a container has 64 MB, which can be too little for NCCL
# Precisions, simplest first: keys of TRAIN, what the GPU must have, and the environment.
TF32_OFF = {"NVIDIA_TF32_OVERRIDE": "0"}
PRECISIONS: tuple[tuple[str, tuple[str, ...], str, Mapping[str, str]], ...] = (
    ("float32", ("TRAIN.amp=off",), "GPU", TF32_OFF),
    ("float32 (TF32)", ("TRAIN.amp=off",), "bfloat16 on the GPU", {}),
    *(
        (f"{level} {dtype}", (f"TRAIN.amp={level}", f"TRAIN.amp_dtype={dtype}"), f"{dtype} on the GPU", {})
        for level in ("O1", "O2")
        for dtype in ("bfloat16", "float16")
    ),
)


@dataclass(frozen=True)
class Plan:
    """The setup of all trials. flags: added to each command; a test makes it small, on the CPU."""

    folder: Path  # for all files that are written
    devices: int
    o2: tuple[str, ...] = ("TRAIN.amp=O2", "TRAIN.amp_dtype=bfloat16")
    flags: tuple[str, ...] = ("--config=configs/tsn.yaml", "--use_gpu=True")
    videos: int = 32  # per step and device: 8 devices share the 256 of configs/tsn.yaml

    def program(self, name: str, videos: int, keys: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the command for a program of apps/doctor/gpu_programs.py."""
        how = f"--batch_size={videos}", SMALL_STEPS, *sets(keys)
        return "python", "apps/doctor/gpu_programs.py", name, *self.flags, *how

    def train(self, name: str, filelist: Path, keys: Sequence[str], epochs: int, *flags: str) -> tuple[str, ...]:
        """Return the command that trains on all devices from random weights."""
        keys = f"TRAIN.filelist={filelist}", "TRAIN.num_reader_threads=auto", *keys
        return (
            "python", "train.py", *self.flags, f"--batch_size={self.videos * self.devices}", "--pretrain=none",
            SMALL_STEPS, "--valid_interval=0", f"--log_interval={INTERVAL}", "--report=False",
            f"--save_dir={self.folder / name}", f"--epoch={epochs}", *flags, *sets(keys),
        )  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """A trial: the command, how it must end, and what its row reports."""

    name: str
    command: tuple[str, ...]
    remedy: str = REINSTALL
    needs: tuple[str, ...] = ("GPU",)  # see apps.doctor.ways.Abilities.missing
    environment: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()  # the keys whose speeds are compared
    meanwhile: Callable[[int], Sequence[int]] | None = None  # see apps.doctor.checks.start
    ends: int = 0  # the exit code
    says: str = ""  # must be in its last line
    found: Callable[[ProgramResult], Mapping[str, object]] = lambda ended: {}  # for the row; raises RunError

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.environment.items()]
        return f"{self.name:44}  {' '.join([*words, shlex.join(self.command)])}"


def sets(keys: Sequence[str]) -> list[str]:
    """Return the flags that set keys."""
    return [word for key in keys for word in ("--set", key)]


def measured(plan: Plan) -> Iterator[Trial]:
    """Yield the trials that measure the machine and find the fastest way to train on one GPU."""
    topology, space = ("nvidia-smi", "topo", "-m"), ("df", "-Pk", "/dev/shm")
    yield Trial("GPUs, how they are linked", topology, found=lambda ended: {"text": f"\n{ended.out}"})
    larger = "in a container, use docker run --shm-size=8g --ulimit memlock=-1"
    yield Trial("/dev/shm", space, larger, found=shared_memory)
    slow = f"set NCCL_P2P_DISABLE=1 if the GPUs cannot reach each other; otherwise {ONE_GPU}"
    yield Trial("all_reduce", plan.program("all_reduce", plan.videos), slow, ("GPU", "GPUs"), found=said)
    for name, keys, need, environment in PRECISIONS:
        for layout, last in (("", False), (", channels_last", True)):
            all_keys = (*keys, f"TRAIN.channels_last={last}")
            remedy = "set TRAIN.channels_last: False" if last else ON_CPU if "off" in keys[0] else "set TRAIN.amp: off"
            yield Trial(f"from memory, {name}{layout}", plan.program("memory", plan.videos, all_keys), remedy,
                        ("GPU", need), environment, all_keys, found=said)  # fmt: skip


def trained(plan: Plan, best: Sequence[str], rate: float | None) -> Iterator[Trial]:
    """Yield the trials that train the fastest way. rate: images/s of one device from memory, if known."""
    folder, several = plan.folder, ("GPU", "GPUs")
    fewer = ONE_GPU if plan.devices > 1 else ON_CPU
    clips, near = folder / "clips.list", folder / "reencoded" / "clips.list"
    waits = partial(waiting, full=rate and rate * plan.devices, devices=plan.devices)
    copies = plan.program("copies", plan.videos, ("TRAIN.amp=off",))
    yield Trial("copies while training, asynchronous", copies, ON_CPU, found=said)
    make = plan.program("clips", plan.videos * plan.devices, [f"TRAIN.filelist={clips}"])
    yield Trial("real clips of 10 s", make)
    yield Trial("train on all GPUs, real clips", plan.train("real", clips, best, 1), fewer,
                found=partial(waits, folder / "real"))  # fmt: skip
    reencode = "python", "data/reencode.py", str(clips), "--out", str(near.parent), "--short_side", "256"
    yield Trial("clips re-encoded", (*reencode, "--keyint", "12"),
                found=lambda ended: {"text": ended.out.splitlines()[-1]})  # fmt: skip
    yield Trial("train on all GPUs, clips re-encoded", plan.train("near", near, best, 1), fewer,
                found=partial(waits, folder / "near"))  # fmt: skip
    yield Trial("train on all GPUs, a rank is killed", plan.train("killed", near, best, 9), fewer, several,
                meanwhile=kill_a_rank, ends=1, says="rank 1 ")  # fmt: skip
    plain, needs = "set TRAIN.amp: O1", ("GPU", "float16 on the GPU")
    yield Trial("train, O2, interrupted", plan.train("o2", near, plan.o2, 2), plain, needs,
                meanwhile=interrupt, ends=130)  # fmt: skip
    yield Trial("train, O2, resumed", plan.train("o2", near, plan.o2, 2, "--resume=auto"), plain, needs,
                found=resumed)  # fmt: skip
    score = ("python", "eval.py", *plan.flags, f"--weights={folder / 'o2' / 'TSN.pdparams'}", "--report=False",
             f"--save_dir={folder / 'scored'}")  # fmt: skip
    yield Trial("evaluate what O2 has trained",
                (*score, *sets([f"TEST.filelist={folder / 'few.list'}"])), plain, needs,
                found=lambda ended: scored(folder / "scored" / "metrics.json"))  # fmt: skip


def check_gpus(abilities: Abilities, plan: Plan) -> Iterator[CheckRow]:
    """Yield each trial's row as soon as it is known, and then the keys to train with."""
    rates: dict[tuple[str, ...], float] = {}
    for trial in measured(plan):
        row = tried(trial, abilities, plan.folder)
        if trial.keys and row.images_per_second:
            rates[trial.keys] = max(row.images_per_second, rates.get(trial.keys, 0.0))
        yield row
    best, rate = recommended(rates)
    if rate is None:
        yield CheckRow("recommended", "not checked", "no way to train could be measured")
    else:
        yield CheckRow("recommended", "ok", shlex.join(sets(best)), rate)
    for trial in trained(plan, best, rate):
        yield tried(trial, abilities, plan.folder)


def recommended(rates: Mapping[tuple[str, ...], float]) -> tuple[tuple[str, ...], float | None]:
    """Return (keys to train with, their images/s): the simplest of the ways that are about as fast as the fastest."""
    fastest = max(rates.values(), default=math.inf)
    return next(((keys, rate) for keys, rate in rates.items() if rate >= CLOSE * fastest), (("TRAIN.amp=off",), None))


def tried(trial: Trial, abilities: Abilities, folder: Path) -> CheckRow:
    """Run a trial and return its row."""
    if reason := abilities.missing(trial):
        return CheckRow(trial.name, "not checked", reason)
    if trial.command[0] != "python" and not shutil.which(trial.command[0]):
        return CheckRow(trial.name, "not checked", f"there is no {trial.command[0]}")
    ended, found = ProgramResult(None), {}
    try:
        ended = start(trial.command, folder, trial.environment, trial.meanwhile)
        problem = problem_of(trial, ended)
        found = {} if problem else trial.found(ended)
    except RunError as error:
        problem = str(error)
    remedy = f"kill -9 {' '.join(map(str, ended.left))}" if ended.left else trial.remedy
    if "out of memory" in problem:  # the problem already says what to do
        return CheckRow(trial.name, "FAILED", problem)
    return checked(trial.name, problem, remedy, **found)


def problem_of(trial: Trial, ended: ProgramResult) -> str:
    """Return what is wrong with the way the command ended; "" if nothing."""
    if ended.left:
        return f"{len(ended.left)} ranks keep running without the others"
    if ended.code == trial.ends and trial.says in ended.last_line:
        return ""
    problem, _ = judge(WAYS[0], Outcome(ended.code, ended.last_line), None)
    return problem or f"it ended with exit code 0 instead of {trial.ends}"


def said(ended: ProgramResult) -> dict:
    """Return the result that a program of apps/doctor/gpu_programs.py printed."""
    return json.loads(ended.out.splitlines()[-1])


def shared_memory(ended: ProgramResult) -> dict:
    size = int(ended.out.splitlines()[-1].split()[1]) / 2**20
    if size < SHARED_MEMORY:
        raise RunError(f"{size:.2f} GB may be too little for NCCL")
    return {"text": f"{size:.1f} GB"}


def waiting(folder: Path, ended: ProgramResult, full: float | None, devices: int) -> dict:
    """Return train.py's speed, and whether its readers keep up. full: images/s that all devices can take."""
    lines = [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line.get("mode") == "train"][WARM:]
    times = [1 / line["videos_per_second"] for line in lines]
    rate = SEGMENTS * len(lines) / sum(times)
    share = sum(line["data_wait"] * time for line, time in zip(lines, times)) / sum(times)
    readers = worker_count("auto", 1_000_000, devices)
    text = f"waits for data {share:.0%} of the time with {readers} readers per device"
    if share > SHARE and full:
        text += f"; {math.ceil(readers * max(1.0, full / rate))} would be enough"
    return {"images_per_second": rate, "text": text}


def resumed(ended: ProgramResult) -> dict:
    lines = [line for line in ended.out.splitlines() if line.startswith("weights: resumed from ")]
    if not lines:
        raise RunError("the run left no checkpoint to resume from")
    return {"text": lines[0].rpartition(": ")[2]}


def scored(path: Path) -> dict:
    loss = json.loads(path.read_text())["loss"]
    if not math.isfinite(loss):
        raise RunError(f"its loss is {loss}")
    return {"text": f"loss {loss:.3f}"}


def interrupt(process: int) -> Sequence[int]:
    """Send Ctrl-C."""
    os.kill(process, signal.SIGINT)
    return ()


def kill_a_rank(process: int) -> Sequence[int]:
    """Kill with -9 the second process that the launcher started; all processes must end with it."""
    try:
        ranks = [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
        os.kill(ranks[1], signal.SIGKILL)
    except (OSError, IndexError):
        raise RunError("its second rank cannot be found in /proc") from None
    return ranks
