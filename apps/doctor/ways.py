"""List the ways to run the toolkit: what each needs, whose numbers it must match, and the remedy if it fails."""

import platform
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from utils.processes.device import FOR_GPUS

# The relative distance that rounding explains, for each kind of numbers: in float32; in TF32 (GPUs round convolutions
# to it) and float16, both with 10 bits; in bfloat16, with 7 bits. Measured with input, output, weight and gradient of
# each convolution rounded accordingly: logits 2e-6, 0.002, 0.02; losses 6e-6, 0.0004, 0.006; norms 0.0004, 0.008, 0.03;
# changes 0.005, 0.12, 0.29, because each ReLU near 0 that flips takes a gradient with it. A lost, doubled or foreign
# gradient has distance 1. The logits of int8 have distance 0.1.
FLOAT32 = {"logits": 1e-3, "losses": 1e-3, "norms": 5e-3, "changes": 0.03}
TF32 = {"logits": 0.02, "losses": 0.02, "norms": 0.05, "changes": 0.4}
HALF = {"logits": 0.1, "losses": 0.05, "norms": 0.15, "changes": 0.7}
INT8 = {"logits": 0.3}
NO_GPU = "no GPU"
# The packages to install depend on the machine: see `remedy`.
PACKAGES = "{packages}"
REINSTALL = f"pip install --force-reinstall {PACKAGES}"


@dataclass(frozen=True)
class Way:
    """One way to run. `program` is a function of apps/doctor/programs.py and gets `options`."""

    name: str
    program: str
    options: Mapping[str, object] = field(default_factory=dict)
    like: str = ""  # the way whose numbers it must match; "": none
    tolerance: Mapping[str, float] = field(default_factory=lambda: FLOAT32)
    needs: tuple[str, ...] = ()  # keys of the table in `Abilities.missing`
    remedy: str = REINSTALL


def _train(
    name: str,
    remedy: str = REINSTALL,
    needs: tuple[str, ...] = (),
    tolerance: Mapping[str, float] = FLOAT32,
    **options: object,
) -> Way:
    """Return a way that trains with these keys of TRAIN and must match eager Paddle on the CPU."""
    like = "train, CPU, BatchNorm frozen" if options.get("freeze_batch_norm") else "train, CPU, eager"
    return Way(f"train, {name}", "train", options, "" if like.endswith(name) else like, tolerance, needs, remedy)


def remedy(text: str, gpu_build: bool) -> str:
    """Return the remedy for this machine: the CPU's packages would overwrite a Paddle for GPUs."""
    return text.replace(PACKAGES, FOR_GPUS if gpu_build else "-r requirements.txt")


def _on_gpu(dtype: str) -> tuple[str, ...]:
    return "GPU", f"{dtype} on the GPU"


def _predict(dtype: str) -> Way:
    options = {"device": "gpu", "precision": dtype}
    return Way(f"predict, GPU, {dtype}", "predict", options, _EAGER, HALF, _on_gpu(dtype), _FLOAT32)


def _amp(level: str, dtype: str, **options) -> Way:
    layout = ", channels_last" if options else ""
    needs = _on_gpu(dtype)
    remedy = f"set TRAIN.amp: off instead of {level} with {dtype}"
    return _train(f"GPU, amp {level} {dtype}{layout}", remedy, needs, HALF, amp=level, amp_dtype=dtype, **options)


_FLOAT32 = "use --precision=float32"
_DECODER = f"pip install {PACKAGES}, or leave MODEL.decoder at auto"
ON_CPU = "use --use_gpu=False until the driver, CUDA and paddlepaddle-gpu fit together (see requirements-gpu.txt)"
ONE_GPU = "train on one GPU: CUDA_VISIBLE_DEVICES=0"
_EAGER = "predict, CPU, eager"
WAYS = (
    Way("read, pyav", "read", {"decoder": "pyav"}),
    Way("read, opencv", "read", {"decoder": "opencv"}, remedy=_DECODER),
    Way("read, decord", "read", {"decoder": "decord"}, needs=("decord",), remedy=_DECODER),
    Way(_EAGER, "predict_eager"),
    Way("predict, CPU, OpenVINO, float32", "predict", {"precision": "float32"}, _EAGER),
    Way("predict, CPU, OpenVINO, bfloat16", "predict", {"precision": "bfloat16"}, _EAGER, HALF, ("bfloat16",),
        _FLOAT32),
    Way("predict, CPU, OpenVINO, int8", "predict", {"precision": "int8"}, _EAGER, INT8, ("nncf",), _FLOAT32),
    Way("predict, CPU, OpenVINO, a stream per core", "predict", {"precision": "float32", "videos": 10_000}, _EAGER,
        FLOAT32, ("cores",)),
    _train("CPU, eager", device="cpu", engine="eager"),
    _train("CPU, BatchNorm frozen", device="cpu", engine="eager", freeze_batch_norm=True),
    _train("CPU, oneDNN", "set TRAIN.engine: eager", device="cpu", engine="onednn"),
    _train("CPU, 2 processes (gloo)", "train without --nproc", device="cpu", engine="eager", freeze_batch_norm=True,
           processes=2),
    Way("predict, GPU", "predict", {"device": "gpu"}, _EAGER, TF32, ("GPU",), ON_CPU),
    _predict("bfloat16"),
    _predict("float16"),
    _train("GPU", ON_CPU, ("GPU",), TF32, amp="off"),
    _train("GPU, channels_last", "set TRAIN.channels_last: False", ("GPU",), TF32, amp="off", channels_last=True),
    _amp("O1", "bfloat16"),
    _amp("O2", "bfloat16"),
    _amp("O1", "float16"),
    _amp("O2", "float16"),
    _amp("O2", "float16", channels_last=True),
    Way("copies to the GPU, asynchronous", "copies", needs=("GPU",), remedy=ON_CPU),
    _train("GPUs over NCCL", ONE_GPU, ("GPU", "GPUs"), TF32, amp="off", freeze_batch_norm=True,
           processes=8),
    _train("GPUs over NCCL, sync_batch_norm", f"set TRAIN.sync_batch_norm: False, or {ONE_GPU}", ("GPU", "GPUs"), TF32,
           amp="off", sync_batch_norm=True, processes=2),
)  # fmt: skip


@dataclass(frozen=True)
class Abilities:
    """Abilities that not every machine has."""

    cores: int
    bfloat16: bool  # of the CPU
    nncf: bool  # whether the package nncf is installed
    gpus: int
    gpu_bfloat16: bool
    gpu_float16: bool

    def missing(self, way: Way) -> str:
        """Return why the way cannot be checked here, in a few words; "" if it can."""
        # As in requirements.txt.
        has_decord = platform.system() == "Windows" or (platform.system(), platform.machine()) == ("Linux", "x86_64")
        reasons = {
            "decord": not has_decord and "there is no decord for this platform",
            "bfloat16": not self.bfloat16 and "this processor has no bfloat16",
            "nncf": not self.nncf and "nncf is not installed: pip install -r requirements-int8.txt",
            "cores": self.cores < 2 and "only one core",
            "GPU": self.gpus < 1 and NO_GPU,
            "GPUs": self.gpus < 2 and "only one GPU",
            "bfloat16 on the GPU": not self.gpu_bfloat16 and "this GPU has no bfloat16",
            "float16 on the GPU": not self.gpu_float16 and "this GPU has no float16",
        }
        return next((reasons[need] for need in way.needs if reasons[need]), "")


@dataclass(frozen=True)
class Outcome:
    """The result of a way's process: how it ended, its numbers, and its speed."""

    code: int | None  # None: it was killed after the time limit
    last_line: str  # the last line of stderr
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)
    images_per_second: float | None = None


def distances(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the relative distance |a - b| / |b| between the arrays of each name.

    It is infinite if one is missing or has another shape.
    """
    far = dict.fromkeys(expected, np.inf)
    for name, b in expected.items():
        if name in found and found[name].shape == b.shape:
            a, b = found[name].astype(float), b.astype(float)
            far[name] = float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))
    return far


def judge(way: Way, outcome: Outcome, expected: Mapping[str, np.ndarray] | None) -> tuple[str, float | None]:
    """Return (what is wrong, or ""; the distance that is closest to its limit, or farthest beyond it)."""
    if outcome.code is None:
        return "it was still running at the time limit", None
    if outcome.code < 0:
        return f"it ended with signal {-outcome.code} ({signal.strsignal(-outcome.code)})", None
    if outcome.code:
        return outcome.last_line or f"it ended with exit code {outcome.code}", None
    if not all(np.isfinite(values).all() for values in outcome.numbers.values()):
        return "it computed numbers that are not finite", None
    if expected is None:
        return "", None
    far = distances(outcome.numbers, expected)
    worst = max(far, key=lambda name: far[name] / way.tolerance[name])
    if far[worst] <= way.tolerance[worst]:
        return "", far[worst]
    limit = f"rounding explains up to {way.tolerance[worst]:g}"
    return f"wrong numbers: its {worst} have distance {far[worst]:.2g} to those of '{way.like}'; {limit}", far[worst]
