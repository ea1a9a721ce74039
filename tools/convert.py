"""Convert configurations, lists and label files of PaddleVideo or mmaction2, and report what has no equivalent.

    python tools/convert.py --from=paddlevideo configs/recognition/tsm/tsm_k400_videos.yaml --out data/dataset/tsm
    python tools/convert.py --from=mmaction2 configs/recognition/tsn/tsn_r50_1x1x8_50e_ucf101_rgb.py
    python tools/convert.py --from=paddlevideo --labels=Kinetics-400_label_list.txt --out data/dataset/k400

The folder --out gets config.yaml; train.list, val.list and test.list with full paths if their sources exist (text, for
mmaction2 also JSON); and kinetics_labels.json from --labels. A Python configuration and its _base_ files are read,
never run.
"""

import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import count, documented_parser, out_folder
from tools.peers import peer_mmaction2, peer_paddlevideo
from tools.peers.peer_keys import Ours, Theirs
from tools.peers.peer_lists import LABELS, read_peer_labels, write_labels, write_lists
from tools.peers.peer_python import read_python
from utils.cli import run
from utils.config.foreign import PAGE, WHOSE
from utils.config.loading import load_config
from utils.config.strict_yaml import Item, parse_mapping, read_text
from utils.errors import InputError
from utils.storage.files import write_atomic
from utils.storage.lock import locked_folder

NAME = "config.yaml"
MADE = "# Made by tools/convert.py"
GPUS = 8  # for recipes that do not give a number


def read_theirs(path: str, peer: str) -> tuple[Theirs, list[str], set[str]]:
    """Return (the configuration, lines that would have to be run, names of variables that its values are made from)."""
    if peer == "mmaction2":
        python = read_python(path)
        return Theirs(python.values), python.unread, python.helpers
    return Theirs(_plain(parse_mapping(*read_text(path)))), [], set()


def _plain(value: object) -> object:
    """Return values of strict YAML without their places in the file."""
    if isinstance(value, Item):
        return _plain(value.value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def convert(config: str, peer: str, out: Path, labels: str | None, gpus: int | None) -> list[str]:
    """Write all files of `out` and return lines about them.

    Raises InputError for a configuration that cannot be read, and for networks and values that are not supported.
    """
    theirs, unread, helpers = read_theirs(config, peer)
    ours = Ours(config)
    module = {"paddlevideo": peer_paddlevideo, "mmaction2": peer_mmaction2}[peer]
    gpus = gpus or (peer_mmaction2.devices_of(theirs, Path(config).name) if peer == "mmaction2" else None) or GPUS
    sources = module.convert(theirs, ours, gpus)
    if (batch := ours.values["TRAIN"].get("batch_size")) is not None:
        ours.say(f"TRAIN.batch_size {batch}", f"of all GPUs together, for --gpus={gpus} like the learning rate")
    lines = []
    classes = ours.values["MODEL"].get("num_classes", 400)
    if labels:
        names = read_peer_labels(labels)
        if len(names) != classes:
            raise InputError(f"--labels={labels}: {len(names)} names, but {config} has {classes} classes")
        write_labels(names, out / LABELS)
        ours.values["INFER"]["kinetics_labels"] = str(out / LABELS)
        lines.append(f"{out / LABELS}: {len(names)} names of {labels}")
    elif classes != 400:
        ours.values["INFER"]["kinetics_labels"] = ""
        ours.say("no label file", "class numbers serve as names; --labels=FILE gives names")
    lines = [*write_lists(ours, sources, Path(config), out), *lines]
    left = [str(part) for part in theirs.rest() if not (len(part.path) == 1 and part.path[0] in helpers)]
    nothing = [f"left out, without an equivalent here: {', '.join(left)}"] if left else []
    nothing += [f"left out, because it would have to be run: {line}" for line in unread[:10]]
    heading = f"{MADE[2:]} from {WHOSE[peer]}'s {Path(config).name}. These are the differences ({PAGE}):"
    _write(out / NAME, ours.text([heading, *nothing]))
    what = f"{ours.values['MODEL']['name']}, {classes} classes"
    command = shlex.join(["python", "train.py", f"--config={out / NAME}", *ours.flags])
    return [f"{out / NAME}: {what}, from {WHOSE[peer]}'s {config}", *lines, *ours.notes, *nothing, command]


def _write(path: Path, text: str) -> None:
    """Write the configuration after loading it. Raises InputError if its values do not fit together."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")
        try:
            load_config(temporary)
        except InputError as error:
            raise InputError(str(error).replace(str(temporary), f"the converted {path}")) from None

    write_atomic(path, write)


def main() -> None:
    parser = documented_parser("tools/convert.py", __doc__)
    add = parser.add_argument
    add("--from", dest="peer", required=True, choices=WHOSE, help="the project that the files come from")
    add("config", nargs="?", metavar="CONFIG", help="YAML or Python configuration; without it, --labels alone")
    add("--labels", metavar="FILE", help="label file with a name per line, for PaddleVideo after its number")
    add("--out", type=out_folder, metavar="DIR", help="default: data/dataset/ and the configuration's name")
    add("--gpus", type=count, metavar="N", help=f"GPUs that its batch is for (default: as it says, or {GPUS})")
    args = parser.parse_args()
    if not (args.config or args.labels):
        raise InputError("expected a configuration or --labels=FILE")
    out = args.out or Path("data/dataset", Path(args.config or args.labels).stem)
    if (out / NAME).exists() and not (out / NAME).read_text("utf-8", "replace").startswith(MADE):
        raise InputError(f"--out {out}: its {NAME} was not made by tools/convert.py: name another folder")
    with locked_folder(out, f"--out {out}"):
        if args.config:
            print("\n".join(convert(args.config, args.peer, out, args.labels, args.gpus)))
        else:
            names = read_peer_labels(args.labels)
            write_labels(names, out / LABELS)
            print(f"{out / LABELS}: {len(names)} names, for INFER.kinetics_labels")


if __name__ == "__main__":
    run(main)
