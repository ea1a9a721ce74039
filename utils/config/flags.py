"""The command lines of train.py, eval.py, predict.py, export.py and serve.py.

`python -m utils.config.flags` prints the table of docs/flags_and_keys.md. Without paddle, so that `--help` is instant.
"""

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from utils.config.kinds import Choice, Kind, Number, Text, Truth, Whole
from utils.config.loading import read_argument
from utils.config.strict_yaml import one_line
from utils.errors import InputError

# The section of the configuration whose keys a script's flags set.
SECTION_OF = {"train": "TRAIN", "eval": "TEST", "predict": "INFER", "export": "INFER", "serve": "INFER"}

_ABOUT = {
    "train": "Train a network on the list of TRAIN, validating on the list of VALID.",
    "eval": "Measure loss, top-1 and top-5 accuracy on the list of TEST.",
    "predict": "Name the classes of one video, or of each video of a folder, of a pattern or on the list of INFER.",
    "export": "Write the network as a folder for inference: uint8 frames in, probabilities out.",
    "serve": "A page to drop a video on, and an endpoint that names its classes.",
}
_EXAMPLE = {
    "train": "python train.py --config=configs/tsn.yaml --batch_size=32 --set TRAIN.seed=7",
    "eval": "python eval.py --config=configs/tsn.yaml --weights=data/checkpoints/TSN.pdparams",
    "predict": "python predict.py --config=configs/tsn.yaml --video_path=clip.mp4 --infer_topk=5",
    "export": "python export.py --config=configs/tsn.yaml --save_dir=data/inference_model",
    "serve": "python serve.py --config=configs/tsn.yaml --weights=data/checkpoints/TSN.pdparams",
}


@dataclass(frozen=True)
class Flag:
    """One flag. `defaults` has the scripts that know it; with `key` and without a default it sets a key instead.

    `key`: "MODEL.name", or a name such as "batch_size" in the script's own section. Its default is then the file's.
    `kind`: what its values must be; None: a switch, which takes none. Keys are checked by `load_config`.
    """

    name: str
    meaning: str
    defaults: Mapping[str, object]
    kind: Kind | None = Text()
    key: str = ""

    def key_of(self, script: str) -> str:
        """The key that the script's flag sets, "TRAIN.batch_size"; '' for a flag that sets none."""
        if not self.key or self.defaults[script] is not None:
            return ""
        return self.key if "." in self.key else f"{SECTION_OF[script]}.{self.key}"


def _same(scripts: str, default: object = None) -> dict[str, object]:
    return dict.fromkeys(scripts.split(), default)


_SET_MEANING = "any key of the configuration, such as TRAIN.epoch=10; wins over flags and file; repeatable"
_SAVE_DIR = {
    "train": None,  # the file's: two data sets must not overwrite each other's checkpoints
    "eval": "data/evaluate_results",
    "predict": "data/predict_results",
    "export": "data/inference_model",
}
_ALL = "train eval predict export serve"
FLAGS = (
    Flag("model_name", "the model; upper and lower case are the same", _same(_ALL), key="MODEL.name"),
    Flag("config", "the YAML file", _same(_ALL, "configs/tsn.yaml")),
    Flag("batch_size", "videos per step, of all devices together", _same("train eval predict"), key="batch_size"),
    Flag("learning_rate", "learning rate at the start", _same("train"), key="learning_rate"),
    Flag("epoch", "times the training list is seen", _same("train"), key="epoch"),
    Flag("pretrain", "ImageNet weights; none: random; not given: downloaded to ~/.paddle/weights", _same("train")),
    Flag("resume", "checkpoint to go on from: file, prefix without suffix, directory, or auto", _same("train")),
    Flag(
        "weights",
        "file or folder of weights; nowhere given: downloaded to ~/.paddle/weights",
        _same("eval predict export serve"),
        key="weights",
    ),
    Flag("use_gpu", "True: stop without a GPU; False: CPU; not given: GPU if there is one", _same(_ALL), key="use_gpu"),
    Flag("no_memory_optimize", "accepted, without effect", _same("train", False), None),
    Flag("filelist", "the list of videos", _same("predict"), key="filelist"),
    Flag(
        "video_path",
        "a video, a folder of them, or a quoted pattern such as 'clips/*.mp4'; wins over the list",
        _same("predict"),
        key="video_path",
    ),
    Flag("infer_topk", "classes named per video", _same("predict serve"), key="topk"),
    Flag(
        "features",
        "True: features.npy [N, F] besides, the mean over segments; segments: [N, T, F]",
        _same("predict", False),
        Choice((False, True, "segments")),
    ),
    Flag(
        "window",
        "seconds; the classes of each window of so many besides: timeline.csv, timeline.json, NAME.vtt",
        _same("predict"),
        Number(0.1, 86400),
    ),
    Flag("stride", "seconds from window to window; not given: half of --window", _same("predict"), Number(0.1, 86400)),
    Flag(
        "save_video",
        "True: NAME.labelled.mp4 besides, each video with its classes drawn on it",
        _same("predict", False),
        Truth(),
    ),
    Flag(
        "explain",
        "True: explain/NAME_segT.png besides, where in its frames the network sees the class",
        _same("predict", False),
        Truth(),
    ),
    Flag("precision", "arithmetic on the CPU: auto, float32, bfloat16", _same("eval predict serve"), key="precision"),
    Flag("save_dir", "where results go", _SAVE_DIR, key="save_dir"),
    Flag("report", "write report.html; not given: where jinja2 is installed", _same("train eval predict"), Truth()),
    Flag("log_interval", "batches between two log lines", {"train": 10, "eval": 1, "predict": 1}, Whole(1)),
    Flag("valid_interval", "epochs between two validations; 0: never", _same("train", 1), Whole(0)),
    Flag("fix_random_seed", "True: seeded by TRAIN.seed, repeatable to the bit", _same("train", False), Truth()),
    Flag(
        "nproc", "processes on the CPU; on GPUs there is one per visible device", _same("train eval predict"), Whole(1)
    ),
    Flag("ray", "share a list among machines, in shards: local, auto or HOST:PORT of a Ray cluster", _same("predict")),
    Flag(
        "shard_size",
        "videos per shard or Parquet part, rounded up to whole batches; not given: 1000",
        _same("predict"),
        Whole(1),
    ),
    Flag(
        "format",
        "json: predictions.json and .csv, features.npy; parquet: predictions.parquet/ with all of them",
        _same("predict", "json"),
        Choice(("json", "parquet")),
    ),
    Flag(
        "format",
        "paddle: for predict.py and programs with Paddle; onnx: without",
        _same("export", "paddle"),
        Choice(("paddle", "onnx")),
    ),
    Flag("restart", "True: drop what an earlier run knows already", _same("eval predict", False), Truth()),
    Flag("is_profiler", "1: write a profile of a few steps", _same("train", False), Truth()),
    Flag("profiler_path", "where the profile goes", _same("train", "./")),
    Flag("host", "the address to listen on; one that other machines reach needs --token", _same("serve", "127.0.0.1")),
    Flag("port", "the port to listen on; 0: any that is free", _same("serve", 8000), Whole(0, 65535)),
    Flag("token", "who asks must send `Authorization: Bearer TOKEN`", _same("serve")),
    Flag("max_upload_mb", "megabytes of an upload, at most", _same("serve", 256), Whole(1, 1_000_000)),
    Flag("max_seconds", "seconds that a video may last", _same("serve", 600.0), Number(0, above=True)),
    Flag("max_waiting", "videos in hand; to more uploads the answer is 503", _same("serve", 32), Whole(1, 100_000)),
)


@dataclass(frozen=True)
class Flags:
    """A parsed command line. A flag that the script does not know is None here.

    section_overrides and sets go to `load_config`, which checks them: flags for configuration keys are in the former
    as {"TRAIN.batch_size": "8"}, only those that were given. Paths are None when not given and without default.
    """

    script: str
    config: str
    save_dir: str | None = None
    section_overrides: Mapping[str, str] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    pretrain: str | None = None
    resume: str | None = None
    report: bool | None = None
    log_interval: int | None = None
    valid_interval: int | None = None
    fix_random_seed: bool | None = None
    is_profiler: bool | None = None
    profiler_path: str | None = None
    nproc: int | None = None
    ray: str | None = None
    shard_size: int | None = None
    format: str | None = None
    restart: bool | None = None
    features: bool | str | None = None
    window: float | None = None
    stride: float | None = None
    save_video: bool | None = None
    explain: bool | None = None
    no_memory_optimize: bool = False
    host: str | None = None
    port: int | None = None
    token: str | None = None
    max_upload_mb: int | None = None
    max_seconds: float | None = None
    max_waiting: int | None = None


def parse_flags(script: str, argv: Sequence[str] | None = None) -> Flags:
    """Returns the flags of `script` (train, eval, predict, export or serve); '' as a value means not given.

    Raises InputError for what the script does not know or a value that does not fit, and SystemExit(0) for --help.
    """
    parser = _parser(script)
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        raise InputError(_about_unknown(unknown[0], script))
    overrides, values = {}, {}
    for flag in FLAGS:
        if script not in flag.defaults:
            continue
        text, key = getattr(known, flag.name), flag.key_of(script)
        if flag.kind is None:
            values[flag.name] = text
        elif key and text:
            overrides[key] = text
        elif not key:
            values[flag.name] = flag.defaults[script]
            if text:
                values[flag.name] = read_argument(flag.kind, text, f"--{flag.name}={one_line(text)}").value
    sets = tuple(text for text in known.set if text)
    flags = Flags(script=script, section_overrides=overrides, sets=sets, **values)
    _check_cluster(flags)
    return flags


def check_ray_address(text: str) -> None:
    """Raises InputError for a value of --ray that names no cluster."""
    if not re.fullmatch(r"local|auto|[^/\s]+:\d{1,5}", text):
        raise InputError(f"--ray={one_line(text)}: expected local, auto or HOST:PORT")


def _check_cluster(flags: Flags) -> None:
    """Raises InputError where the flags of a cluster contradict each other or others."""
    if flags.ray is not None:
        check_ray_address(flags.ray)
    if flags.ray is not None and (flags.nproc or 1) > 1:
        raise InputError(f"--nproc={flags.nproc} and --ray={flags.ray}: on a cluster each machine uses all its cores")
    if flags.shard_size is not None and flags.ray is None and flags.format != "parquet":
        raise InputError(f"--shard_size={flags.shard_size}: is for --ray and --format=parquet")


class _Parser(argparse.ArgumentParser):
    """Raises InputError where argparse would print its usage and exit."""

    def error(self, message):
        raise InputError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def _parser(script: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"{script}.py",
        usage=f"python {script}.py [--flag=value ...] [--set SECTION.key=value ...]",
        description=_ABOUT[script],
        epilog=f"example:\n  {_EXAMPLE[script]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for flag in FLAGS:
        if script in flag.defaults:
            text = f"{flag.meaning} ({_shown_default(flag, script)})"
            how = {"metavar": "VALUE"} if flag.kind else {"action": "store_true"}
            parser.add_argument(f"--{flag.name}", help=text.replace("%", "%%"), **how)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.key=value", help=_SET_MEANING)
    return parser


def _shown_default(flag: Flag, script: str) -> str:
    if flag.key_of(script):
        return "default: as in the configuration"
    default = flag.defaults[script]
    return "default: not given" if default is None else f"default: {default}"


def _about_unknown(argument: str, script: str) -> str:
    name = argument.partition("=")[0]
    if not name.startswith("-"):
        return f"unexpected argument {one_line(argument)}; see {script}.py --help"
    options = ["--set", "--help"] + [f"--{flag.name}" for flag in FLAGS if script in flag.defaults]
    found = difflib.get_close_matches("--" + name.lower().lstrip("-").replace("-", "_")[:80], options, n=1)
    hint = f"did you mean {found[0]}?" if found else f"see {script}.py --help"
    return f"unknown flag {one_line(name)}; {hint}"


def reference_table() -> str:
    """Returns the Markdown table of every flag: which scripts know it, its default, its meaning."""
    rows = ["| flag | scripts | default | meaning |", "|---|---|---|---|"]
    for flag in FLAGS:
        values = [f"`{value}`" for value in flag.defaults.values() if value is not None]
        default = ", ".join(dict.fromkeys((["configuration"] if flag.key else []) + values))
        rows.append(f"| --{flag.name} | {', '.join(flag.defaults)} | {default} | {flag.meaning} |")
    rows.append(f"| --set SECTION.key=value | {', '.join(SECTION_OF)} | none | {_SET_MEANING} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(reference_table())
