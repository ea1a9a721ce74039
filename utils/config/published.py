"""Look up published weights by name in published.yaml, and apply the keys that a name sets.

`python -m utils.config.published` prints the table of docs/weights_and_protocols.md.
"""

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from utils.config.beside import path_beside
from utils.config.keys import EngineConfig
from utils.config.shared_keys import ModelConfig
from utils.config.strict_yaml import Item
from utils.errors import InputError

TABLE = Path(__file__).with_suffix(".yaml")
# Suffixes that may be left out of a weights path.
SUFFIXES = (".pdparams", ".safetensors", ".tar.gz")
# The key of each section that accepts a name.
WEIGHTS_KEYS = {"TRAIN": "TRAIN.pretrain", "TEST": "TEST.weights", "INFER": "INFER.weights"}
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# The keys for reading videos. A name sets all of them, and those missing in the table get their defaults.
_TEST_KEYS = "seglen image_mean image_std sampling resize crops average short_size target_size".split()


@dataclass(frozen=True)
class Published:
    """A row of the table."""

    name: str
    url: str
    source: dict[str, str]  # title and page of the publisher, licence
    data: str
    model: dict[str, Any]  # keys of MODEL
    aliases: tuple[str, ...] = ()
    sha256: str = ""  # its first digits, if known
    test: dict[str, Any] = field(default_factory=dict)  # keys of TEST and INFER; {}: an ImageNet network
    labels: str = ""  # the file of class names, if it is in this repository
    top1: float | None = None
    of_another_test: str = ""

    def keys(self, section: str) -> dict[str, Any]:
        """Return the keys that the name sets in `section`; TRAIN uses the network without its classifier."""
        model = {f"MODEL.{key}": value for key, value in self.model.items()}
        if section == "TRAIN":
            return {key: value for key, value in model.items() if key not in ("MODEL.num_classes", "MODEL.seg_num")}
        return model | {f"{section}.{key}": value for key, value in self.test.items()}

    def wishes(self, section: str) -> dict[str, Any]:
        """Return the keys that it sets if nothing else does."""
        if section == "TRAIN":
            return {"MODEL.seg_num": self.model["seg_num"]} if "seg_num" in self.model else {}
        labels = self.labels
        if labels and not os.path.exists(labels):  # use the repository's file from any folder
            labels = str(Path(__file__).resolve().parents[2] / labels)
        return {"INFER.kinetics_labels": labels}

    def __str__(self) -> str:
        accuracy = f", published top-1 {self.top1:g}" if self.top1 else ""
        other = f" with {self.of_another_test}" if self.of_another_test else ""
        return f"{self.name}, by {self.source['title']} for {self.data}{accuracy}{other}"


@lru_cache(1)
def _read(path: Path) -> tuple[Published, ...]:
    # libyaml, where PyYAML has it, takes a tenth of the time.
    tree = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    rows = []
    for name, row in tree["weights"].items():
        source = tree["sources"][row.pop("source")]
        data = dict(tree["data"][row["data"]])
        model = row["model"]
        if "test" in row:
            test, segments = row["test"]
            defaults = {key: EngineConfig.__dataclass_fields__[key].default for key in _TEST_KEYS}
            row["test"] = {**defaults, "seg_num": segments, **tree["tests"][test]}
            row["test"].setdefault("keep_aspect_ratio", row["test"]["resize"] == "opencv")
            model = {**model, "num_classes": data["num_classes"]}
        model |= {key: getattr(ModelConfig, key) for key in ("backbone", "num_layers") if key not in model}
        row |= {"model": model, "aliases": tuple(row.get("aliases", ())), "labels": data.get("labels", "")}
        rows.append(Published(name=name, url=source["files"] + row.pop("file"), source=source, **row))
    return tuple(rows)


def published_weights() -> tuple[Published, ...]:
    """Return all rows of the table."""
    return _read(TABLE)


def find_published(name: object) -> Published | None:
    """Return the published weights with this name. Raises InputError if a local file has it too."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    row = next((row for row in published_weights() if name in (row.name, *row.aliases)), None)
    here = row and next((name + suffix for suffix in ("", *SUFFIXES) if os.path.exists(name + suffix)), None)
    if here:
        raise InputError(f"{name}: the name of published weights, and {here} is here: write ./{name} for that")
    return row


def similar_name(name: str) -> str:
    """Return the most similar name of the table, or ''."""
    names = [name for row in published_weights() for name in (row.name, *row.aliases)]
    return next(iter(difflib.get_close_matches(name[:80], names, n=1)), "")


def add_keys(given: dict[str, Item], section: str) -> None:
    """Add the keys that names of published weights in `given` set, by SECTION.key.

    section: its name wins, if it has one; otherwise the names of all sections apply to keys that nothing else sets.
    Raises InputError if `given` contradicts the name that wins.
    """
    named = {
        own: row for own, key in WEIGHTS_KEYS.items() if key in given and (row := find_published(given[key].value))
    }
    for own, row in {section: named[section]}.items() if section in named else named.items():
        item = given[WEIGHTS_KEYS[own]]
        who = item.where if item.where.startswith("-") else f"{item.where}: {WEIGHTS_KEYS[own]} {item.value}"
        if own != "TRAIN" and not row.test:
            raise InputError(f"{who}: {row.data}'s weights, which were trained on images only: use them for --pretrain")
        keys = row.keys(own)
        for name, value in list(keys.items()):
            key = name.partition(".")[2]
            known = given.get(name) or (given.get(f"MODEL.{key}") if f"MODEL.{key}" not in keys else None)
            if known and section not in ("", own):
                del keys[name]
            elif known and _spelled(known.value) != _spelled(value):
                says_so = known.where.partition("=")[0].endswith(f".{key}")
                raise InputError(
                    f"{known.where}{'' if says_so else f': {name} {known.value}'} contradicts {who}, which sets {name} "
                    f"to {value}: remove one of them, or name the file by its path"
                )
        for name, value in (keys | {k: v for k, v in row.wishes(own).items() if k not in given}).items():
            given[name] = Item(value, str(value), who)


def _spelled(value: object) -> str:
    """Return a value for comparison: network names have several spellings."""
    return re.sub("[-_]", "", str(value)).lower()


def names_weights(section: str, overrides: dict[str, str], sets: tuple[str, ...]) -> bool:
    """Return whether the command line names weights for its section that describe themselves.

    These are published weights, by name, and, except for TRAIN, weights with a manifest beside them.
    """
    key = WEIGHTS_KEYS[section]
    texts = [overrides.get(key), *(text.partition("=")[2] for text in sets if text.startswith(f"{key}="))]
    return any(find_published(text) or (section != "TRAIN" and text and path_beside(text)) for text in texts)


def _cells(row: Published) -> Iterator[str]:
    yield " ".join(f"`{name}`" for name in (*row.aliases, row.name))
    yield f"[{row.data}]({row.url})"
    keys = {key: value for key, value in row.model.items() if value != getattr(ModelConfig, key)}
    keys["name"] = row.model.get("name", "")
    yield ", ".join(f"`{key}: {value}`" for key, value in sorted(keys.items()) if value != "") or "–"
    test = {key: value for key, value in row.test.items() if value != getattr(EngineConfig, key) or key == "seg_num"}
    if "resize" in test:
        test.pop("keep_aspect_ratio")  # opencv always sets it
    yield ", ".join(f"`{key}: {value}`" for key, value in sorted(test.items())) or "–"
    other = f" ({row.of_another_test})" if row.of_another_test else ""
    yield f"{row.top1:g}{other}" if row.top1 else "–"
    yield f"[{row.source['title']}]({row.source['page']}), {row.source['licence']}"


def reference_table() -> str:
    """Return the Markdown table of all names."""
    rows = ["| name | data, file | MODEL | TEST, INFER | top-1 | from |", "|---|---|---|---|---|---|"]
    return "\n".join([*rows, *(f"| {' | '.join(_cells(row))} |" for row in published_weights())])


if __name__ == "__main__":
    print(reference_table())
