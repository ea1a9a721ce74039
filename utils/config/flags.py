"""Parse the command lines of train.py, eval.py, predict.py, export.py, serve.py and live.py.

`python -m utils.config.flags` prints the table of docs/flags_and_keys.md. No paddle, so that `--help` is instant.
"""

import argparse
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, make_dataclass
from pathlib import Path

from utils.config.kinds import Truth
from utils.config.known_flags import ABOUT, EXAMPLE, FLAGS, SECTION_OF, SET_MEANING, Flag
from utils.config.loading import read_argument
from utils.config.published import WEIGHTS_KEYS, names_weights
from utils.config.strict_yaml import one_line
from utils.errors import InputError

# The names that other programs use for some of the flags.
_OTHER_NAMES = (
    dict.fromkeys(("output", "out", "output_dir", "out_dir", "project"), "save_dir")
    | dict.fromkeys(("conf", "confidence", "score_thr", "min_confidence"), "threshold")
    | dict.fromkeys(("topk", "top_k", "k"), "infer_topk")
    | dict.fromkeys(("video", "videos", "input", "file"), "video_path")
    | dict.fromkeys(("list", "file_list", "video_list"), "filelist")
    | dict.fromkeys(("checkpoint", "ckpt"), "weights")
)


def _own_flags() -> list[str]:
    """Return the names of the flags that set no configuration key, each once."""
    return list(dict.fromkeys(flag.name for flag in FLAGS if any(not flag.key_of(script) for script in flag.defaults)))


# A parsed command line: `script`, and an attribute for each flag that sets no key, None if the script does not know it.
# section_overrides and sets go to `load_config`, which checks them. section_overrides holds the given flags for
# configuration keys, as {"TRAIN.batch_size": "8"}.
Flags = make_dataclass(
    "Flags",
    [
        ("script", str),
        *((name, object, None) for name in _own_flags()),
        ("section_overrides", Mapping[str, str], field(default_factory=dict)),
        ("sets", tuple[str, ...], ()),
    ],
    frozen=True,
)
Flags.__module__ = __name__


def parse_flags(script: str, argv: Sequence[str] | None = None) -> Flags:
    """Return the flags of `script` (train, eval, predict, export, serve or live). An empty value means not given.

    Raises InputError for unknown flags or unsuitable values, and SystemExit(0) for --help.
    """
    parser = _parser(script)
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        raise InputError(_about_unknown(unknown, script, bool(getattr(known, "video_path", None))))
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
    if not known.config and names_weights(SECTION_OF[script], overrides, sets):
        values["config"] = ""  # the name, or the manifest beside the weights, says everything
    elif not known.config and (beside := config_of_run(overrides.get(WEIGHTS_KEYS[SECTION_OF[script]]))):
        values["config"] = beside
    flags = Flags(script=script, section_overrides=overrides, sets=sets, **values)
    _check_cluster(flags)
    return flags


def config_of_run(weights: str | None) -> str:
    """Return the configuration of the run whose folder is given as weights; "" for other weights."""
    folder = Path(weights or "").expanduser()
    is_run = weights and any(folder.glob("*.pdparams")) and (folder / "config.yaml").is_file()
    return str(folder / "config.yaml") if is_run else ""


def check_ray_address(text: str) -> None:
    """Raise InputError if a value of --ray names no cluster."""
    if not re.fullmatch(r"local|auto|[^/\s]+:\d{1,5}", text):
        raise InputError(f"--ray={one_line(text)}: expected local, auto or HOST:PORT")


def _check_cluster(flags: Flags) -> None:
    """Raise InputError if cluster flags contradict each other or other flags."""
    if flags.ray is not None:
        check_ray_address(flags.ray)
    if flags.ray is not None and (flags.nproc or 1) > 1:
        raise InputError(f"--nproc={flags.nproc} and --ray={flags.ray}: on a cluster each machine uses all its cores")
    if flags.shard_size is not None and flags.ray is None and flags.format != "parquet":
        raise InputError(f"--shard_size={flags.shard_size}: needs --ray or --format=parquet")


class Parser(argparse.ArgumentParser):
    """A parser that raises InputError where argparse would print its usage and exit."""

    def __init__(self, script: str, description: str, **how: object):
        super().__init__(description=description, allow_abbrev=False, **{"prog": f"python {script}"} | how)

    def error(self, message: str) -> None:
        raise InputError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def _parser(script: str) -> argparse.ArgumentParser:
    parser = Parser(
        script,
        ABOUT[script],
        prog=f"{script}.py",
        usage=f"python {script}.py [--flag=value ...] [--set SECTION.key=value ...]",
        epilog=f"example:\n  {EXAMPLE[script]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for flag in FLAGS:
        if script in flag.defaults:
            text = f"{flag.meaning} ({_shown_default(flag, script)})"
            how = {"metavar": "VALUE"} if flag.kind else {"action": "store_true"}
            if isinstance(flag.kind, Truth):
                how |= {"nargs": "?", "const": "True"}  # --save_video without a value means this
            parser.add_argument(f"--{flag.name}", help=text.replace("%", "%%"), **how)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.key=value", help=SET_MEANING)
    return parser


def _shown_default(flag: Flag, script: str) -> str:
    if flag.key_of(script):
        return "default: as in the configuration"
    default = flag.defaults[script]
    return "default: not given" if default is None else f"default: {default}"


def _about_unknown(unknown: Sequence[str], script: str, has_video: bool) -> str:
    argument = unknown[0]
    name = argument.partition("=")[0]
    if not name.startswith("-"):
        flag = {"predict": "--video_path", "live": "--source", "eval": "--filelist"}.get(script)
        hint = f"see {script}.py --help"
        if has_video and os.path.exists(argument):
            hint = f"a pattern needs quotes: --video_path='{os.path.join(os.path.dirname(argument), '*')}'"
        elif flag and re.search(r"[./]", argument):
            hint = f"did you mean {flag}={one_line(argument)}?"
        return f"unexpected argument {one_line(argument)}; {hint}"
    options = ["--set", "--help"] + [f"--{flag.name}" for flag in FLAGS if script in flag.defaults]
    asked = _OTHER_NAMES.get(name.lower().lstrip("-").replace("-", "_"))
    if f"--{asked}" in options:
        return f"unknown flag {one_line(name)}; did you mean --{asked}?"
    found = difflib.get_close_matches("--" + name.lower().lstrip("-").replace("-", "_")[:80], options, n=1)
    hint = f"did you mean {found[0]}?" if found else f"see {script}.py --help"
    return f"unknown flag {one_line(name)}; {hint}"


def reference_table() -> str:
    """Return the Markdown table of all flags: the scripts that know it, the default, the meaning."""
    rows = ["| flag | scripts | default | meaning |", "|---|---|---|---|"]
    for flag in FLAGS:
        values = [f"`{value}`" for value in flag.defaults.values() if value is not None]
        default = ", ".join(dict.fromkeys((["configuration"] if flag.key else []) + values))
        rows.append(f"| --{flag.name} | {', '.join(flag.defaults)} | {default} | {flag.meaning} |")
    rows.append(f"| --set SECTION.key=value | {', '.join(SECTION_OF)} | none | {SET_MEANING} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(reference_table())
