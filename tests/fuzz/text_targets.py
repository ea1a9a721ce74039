"""Targets that read text: configurations, ours and the peers', file lists and label lists."""

import json
import random
import re
from pathlib import Path

from fuzz.mutations import mutated
from fuzz.target import ROOT, Target
from mmaction2_configs import CONFIGS, source
from paddlevideo_configs import PADDLEVIDEO, as_yaml
from reader.class_names import read_labels
from reader.filelist import read_list
from results.tables import write_predictions
from tools.convert import convert
from utils.config.loading import load_config
from utils.errors import InputError

_SNIPPETS = tuple(
    '&a|*a|!!x |\t|[|{|? |- |%TAG ! x\n|%YAML 9999999999.1\n|\x85|\u2028|"\\x|"\\U99999999"|>9\n|: |---\n|...\n|#|'
    "'|\\|!<|!%ff |`|@|"
    "\n\n|<<: |\r|\x00|\x1b[2J|\U0001f600|~|]|}|,|MODEL:\n|  |1e999|-0|.nan|0x10|1:30|  seg_num: 1\n|null".split("|")
)


def mutated_text(data: bytes, rng: random.Random) -> bytes:
    """Return the text after `mutated`, or with snippets in it that have a meaning for parsers."""
    result = bytearray(data)
    if rng.random() < 0.5:
        return mutated(data, rng)
    for _ in range(rng.choice((1, 2, 6))):
        at = rng.randrange(len(result) + 1)
        size = rng.choice((0, 0, 1, 10))
        result[at : at + size] = rng.choice(_SNIPPETS).encode() * rng.choice((1, 1, 1, 50))
    return bytes(result)


def configurations() -> Target:
    """Break our YAML files; a configuration that is read is written and read again."""
    folders = (ROOT / "configs", ROOT / "tests" / "configs")
    seeds = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.yaml"))]

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        path = folder / "tsn.yaml"
        path.write_bytes(mutated_text(rng.choice(seeds), rng))
        return path

    def read(path: Path, rng: random.Random) -> None:
        text = path.read_bytes().decode("latin1")
        start = rng.randrange(len(text) + 1)
        sets = [f"TRAIN.learning_rate={text[start : start + 40]}"] if rng.random() < 0.3 else []
        config = load_config(path, {}, sets)
        again = path.with_name("again.yaml")
        again.write_text(config.dump(), encoding="utf-8")
        assert load_config(again) == config

    return Target(write, read, (InputError,), memory=200)


def peer_configurations() -> Target:
    """Break configurations of the peers, also value by value; the configuration made of one is loaded."""
    names = ("tsn_r50_1x1x8_50e_hmdb51_kinetics400_rgb", "tsm_r50_video_1x1x8_50e_kinetics400_rgb")
    seeds = [
        ("mmaction2", "".join(f"{key} = {source(part)}\n" for key, part in CONFIGS[name].items())) for name in names
    ]
    seeds += [("paddlevideo", as_yaml(one.tree())) for one in list(PADDLEVIDEO.values())[:3]]
    others = ("[1, 2]", "{}", "-1", "1e999", "True", "''", "null", "None", "dict()", "lambda: 1", "9" * 30, "{1: 2}")

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        peer, text = rng.choice(seeds)
        path = folder / f"{peer}.txt"
        if rng.random() < 0.5:
            at = rng.choice(list(re.finditer(r"'[^']*'|[\w.]+", text))).span()
            path.write_text(text[: at[0]] + rng.choice(others) + text[at[1] :])
        else:
            path.write_bytes(mutated_text(text.encode(), rng))
        return path

    def read(path: Path, rng: random.Random) -> None:
        out = path.parent / "out"
        out.mkdir(exist_ok=True)
        assert all("\n" not in line for line in convert(str(path), path.stem, out, None, None))
        load_config(out / "config.yaml")

    return Target(write, read, (InputError,), memory=200)


def file_lists() -> Target:
    """Break lists of all formats, and one in other encodings."""
    seed = "".join(f"videos/my clip {i:03}.mp4 {i % 4}\n" for i in range(30)).encode()
    pickles = "".join(f"videos/clip_{i:03}.pkl\n" for i in range(30)).encode()
    folders = "".join(f"videos/my clip {i:03} {9 + i} {i % 4}\n" for i in range(30)).encode()
    foreign = "\ufeffвидео/клип 1.mp4\t2\r\n/data/\u2028/x.avi 1\r\r\n视频 3\n".encode() + b"caf\xe9.mp4 0\n"

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        path = folder / "train.list"
        path.write_bytes(mutated_text(rng.choice((seed, pickles, folders, foreign)), rng))
        return path

    def read(path: Path, rng: random.Random) -> None:
        how = {"frame_format": rng.choice(("mp4", "pkl", "frames")), "needs_label": rng.random() < 0.5}
        entries = read_list(str(path), num_classes=4, **how)
        assert entries and all(entry.path and "\n" not in entry.path for entry in entries)
        assert all(entry.label is None or 0 <= entry.label < 4 for entry in entries)

    return Target(write, read, (InputError,), memory=200)


def labels() -> Target:
    """Break label lists; accepted names are written to the files of a prediction."""
    names = ["opening", "closing_é", "walking \U0001f600", "x" * 50]
    seeds = [json.dumps(names, ensure_ascii=escaped).encode() for escaped in (True, False)]

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        path = folder / "labels.json"
        path.write_bytes(mutated_text(rng.choice(seeds), rng))
        return path

    def read(path: Path, rng: random.Random) -> None:
        names = read_labels(str(path), 4)
        prediction = [{"class_id": k, "label": name, "probability": 0.25} for k, name in enumerate(names)]
        write_predictions(path.parent, [{"video": "a.mp4", "predictions": prediction}])
        assert json.loads((path.parent / "predictions.json").read_bytes())[0]["predictions"] == prediction

    return Target(write, read, (InputError,), memory=200)
