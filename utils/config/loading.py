"""Load a configuration: check one YAML file, flags and --set, and resolve them into frozen dataclasses.

`python -m utils.config.loading` prints the table of docs/flags_and_keys.md.
"""

import difflib
import itertools
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from pathlib import Path

import yaml

from utils.config.beside import add_manifest
from utils.config.keys import IGNORED_KEYS, SECTIONS, InferConfig, TestConfig, ValidConfig
from utils.config.kinds import Kind, Text, Truth
from utils.config.published import WEIGHTS_KEYS, add_keys
from utils.config.shared_keys import ModelConfig, SectionConfig, kinds_of
from utils.config.strict_yaml import Item, one_line, parse, read_file
from utils.config.together import check_together
from utils.config.train_keys import TrainConfig
from utils.errors import InputError
from utils.storage.objects import check_path

# Relative paths that are missing in the working folder are looked up here.
_BESIDE = Path(__file__).resolve().parents[2]
_READING = [section for section in SECTIONS if section != "MODEL"]
# Flags with names that differ from their keys.
_FLAG_NAMES = {"MODEL.name": "model_name", "INFER.topk": "infer_topk"}


@dataclass(frozen=True)
class Config:
    """A resolved configuration; equal if every value is equal. Only `load_config` creates one."""

    model: ModelConfig
    train: TrainConfig
    valid: ValidConfig
    test: TestConfig
    infer: InferConfig
    # (SECTION.key, where) of keys without effect, for the log.
    ignored_keys: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    # (SECTION.topk, where, value) of file values above num_classes; num_classes is used instead.
    cut_topk: tuple[tuple[str, str, int], ...] = field(default=(), compare=False)
    # use_gpu=True in a YAML file means "if there is one"; as a flag or --set, it demands one.
    demands_gpu: bool = field(default=False, compare=False)

    def dump(self) -> str:
        """Return YAML from which `load_config` reads an equal configuration."""
        tree = {}
        for section in SECTIONS:
            given = {name: value for name, value in asdict(getattr(self, section.lower())).items() if value is not None}
            tree[section] = {name: _Quoted(value) if isinstance(value, str) else value for name, value in given.items()}
        return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)


class _Quoted(str):
    """A text that is dumped in quotes, so that a file called 1e-4 stays a text."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True  # write the same tuple twice if two sections have it


_Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, True))
_Dumper.add_representer(_Quoted, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, '"'))


def load_config(
    path: str | os.PathLike,
    flags: Mapping[str, object] | None = None,
    sets: Sequence[str] = (),
    section: str = "",
) -> Config:
    """Return the resolved configuration. --set overrides flags, flags override the file, the file overrides defaults.

    path: '': no file, or the manifest beside the weights. flags: {"TRAIN.batch_size": 8 or "8", ...}; None: not given.
    sets: "SECTION.key=value", value in YAML. section: the one whose weights will be read, see `add_keys`.
    Raises InputError, one line that names the place (`file:line`, the flag or the --set).
    """
    given = _from_tree(read_file(_beside(os.fspath(path)))) if path else {}
    command_line = [_from_flag(name, value) for name, value in (flags or {}).items() if value is not None]
    command_line += [_from_set(text) for text in sets]
    for name, item in command_line:
        given.pop(name, None)  # append it at the end: the order of `given` shows which value came last
        given[name] = item
    add_keys(given, section)
    add_manifest(given, section, WEIGHTS_KEYS.get(section), None if path else _from_tree)

    ignored = tuple((name, item.where) for name, item in given.items() if name.split(".")[1] in IGNORED_KEYS)
    cut = _cut_topk(given, dict(command_line))
    model = _resolve("MODEL", given, {})
    if "MODEL.topk" not in given:
        model["topk"] = min(model["topk"], model["num_classes"])
    resolved = {"MODEL": model} | {section: _resolve(section, given, model) for section in _READING}
    _look_beside(resolved, dict(command_line))
    check_together(resolved, given)
    if resolved["TRAIN"]["schedule"] == "cosine" and resolved["TRAIN"]["milestones"]:
        ignored += (("TRAIN.milestones", given["TRAIN.milestones"].where),)
    demands_gpu = any(name.endswith(".use_gpu") and item.value is True for name, item in dict(command_line).items())
    parts = {section.lower(): SECTIONS[section](**values) for section, values in resolved.items()}
    return Config(**parts, ignored_keys=ignored, cut_topk=cut, demands_gpu=demands_gpu)


def _look_beside(resolved: Mapping[str, dict[str, object]], commanded: Collection[str]) -> None:
    """Use files beside the toolkit if the configuration names them and the working folder lacks them."""
    for section, key in itertools.product(_READING, ("filelist", "kinetics_labels", "weights", "calibration")):
        if f"{section}.{key}" not in commanded and (path := resolved[section].get(key)):
            resolved[section][key] = _beside(path)


def _beside(path: str) -> str:
    return path if os.path.lexists(path) or not os.path.exists(_BESIDE / path) else str(_BESIDE / path)


def _cut_topk(given: dict[str, Item], commanded: Collection[str]) -> tuple[tuple[str, str, int], ...]:
    """Return each topk in the file above num_classes after cutting it in `given`; one from the command line stays.

    In a file made for 400 classes and used for three, it means "as many as there are"; a flag is taken literally.
    """
    limit = given["MODEL.num_classes"].value if "MODEL.num_classes" in given else ModelConfig.num_classes
    of_file = [(name, item) for name, item in given.items() if name.endswith(".topk") and name not in commanded]
    cut = [(name, item) for name, item in of_file if item.value > limit]
    given |= {name: replace(item, value=limit) for name, item in cut}
    return tuple((name, item.where, item.value) for name, item in cut)


def _from_tree(tree: Mapping[str, Item]) -> dict[str, Item]:
    """Return {"SECTION.key": checked item} for a file's contents, in file order."""
    given = {}
    for section, content in tree.items():
        _check_section(section, content.where)
        if content.value is None:
            continue
        if not isinstance(content.value, dict):
            raise InputError(f"{content.where}: section {section}: expected lines `key: value`, not {content.raw}")
        for name, item in content.value.items():
            kind = _kind(section, name, item.where)
            given[f"{section}.{name}"] = _checked(kind, item, f"{section}.{name}: ")
    return given


def _from_flag(name: str, value: object) -> tuple[str, Item]:
    section, key = name.split(".")
    where = f"--{_FLAG_NAMES.get(name, key)}={one_line(str(value))}"
    kind = _kind(section, key, where)
    if isinstance(value, str):
        return name, read_argument(kind, value, where)
    return name, _checked(kind, Item(value, one_line(str(value)), where))


def _from_set(text: str) -> tuple[str, Item]:
    where = f"--set {one_line(text)}"
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot):
        raise InputError(f"{where}: expected SECTION.key=value, such as TRAIN.epoch=10")
    _check_section(section, where)
    kind = _kind(section, key, where)
    if value[:1] in ("'", '"'):
        return f"{section}.{key}", _checked(kind, parse(value, lambda line: where))
    return f"{section}.{key}", read_argument(kind, value, where)


def read_argument(kind: Kind | None, text: str, where: str) -> Item:
    """Return the checked value of `text` from the command line: YAML, but texts need no quotes, and 1/0 are truths."""
    if isinstance(kind, Text):
        item = Item(text, one_line(text) or "nothing", where)
    elif isinstance(kind, Truth) and text in ("0", "1"):
        item = Item(text == "1", text, where)
    else:
        item = parse(text, lambda line: where)
    return _checked(kind, item)


def _check_section(section: str, where: str) -> None:
    if section in SECTIONS:
        return
    hint = _nearest(section.upper(), SECTIONS) or "the sections are " + ", ".join(SECTIONS)
    raise InputError(f"{where}: unknown section {one_line(section)}; {hint}")


def _kind(section: str, name: str, where: str) -> Kind | None:
    """Return the kind of the key's values; None for a key without effect. Raises InputError for an unknown key."""
    kinds = kinds_of(SECTIONS[section])
    if name in kinds:
        return kinds[name]
    if name in IGNORED_KEYS:
        return None
    homes = [other for other, keys in SECTIONS.items() if name in kinds_of(keys)]
    if homes:
        hint = f"it belongs to {' or '.join(homes)}"
    else:
        hint = _nearest(name.lower(), kinds) or f"the keys of {section} are {', '.join(kinds)}"
    raise InputError(f"{where}: unknown key {section}.{one_line(name)}; {hint}")


def _nearest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word[:80], list(known), n=1)
    return f"did you mean {found[0]}?" if found else ""


def _checked(kind: Kind | None, item: Item, label: str = "") -> Item:
    """Return the item with its value as the dataclass holds it. Raises InputError if the kind rejects it."""
    if kind is None:
        return item
    try:
        value = kind.read(item.value)
    except ValueError:
        raise InputError(f"{item.where}: {label}expected {kind}, not {item.raw}") from None
    # Leave out a flag's value, because it may be a secret.
    where = item.where.partition("=")[0] if item.where.startswith("--") else item.where
    check_path(value, f"{where}: {label}".rstrip(": "))
    return Item(value, item.raw, item.where)


def _resolve(section: str, given: Mapping[str, Item], model: Mapping[str, object]) -> dict[str, object]:
    """Return the section's final values: given, or MODEL's if the key is inherited, or the default."""
    values = {}
    for item in fields(SECTIONS[section]):
        default = model[item.name] if item.metadata["inherited"] else item.default
        name = f"{section}.{item.name}"
        values[item.name] = given[name].value if name in given else default
    if not {f"{section}.keep_aspect_ratio", "MODEL.keep_aspect_ratio"} & given.keys():
        values["keep_aspect_ratio"] = values["resize"] == "opencv"  # the peers keep it, the original does not
    return values


def reference_table() -> str:
    """Return the Markdown table of all keys. Keys shared by the four reading sections have one row."""
    shared = [item.name for item in fields(SectionConfig)]
    rows = []
    for item in fields(ModelConfig):
        rows.append(_row("MODEL, all others" if item.name in shared else "MODEL", item, [item.default]))
    for item in fields(SectionConfig):
        if not item.metadata["inherited"]:
            defaults = [getattr(SECTIONS[section], item.name) for section in _READING]
            rows.append(_row(", ".join(_READING), item, defaults))
    for section in _READING:
        rows += [_row(section, item, [item.default]) for item in fields(SECTIONS[section]) if item.name not in shared]
    return "\n".join(["| section | key | default | value | meaning |", "|---|---|---|---|---|", *rows])


def _row(section: str, item: Field, defaults: list) -> str:
    """Return one row. `defaults`: by section in order, written once if they are equal."""
    defaults = defaults[:1] if len(set(defaults)) == 1 else defaults
    shown = ", ".join(f"`{list(value) if isinstance(value, tuple) else value}`" for value in defaults)
    shown = "none" if defaults[0] in (None, "") else shown
    return f"| {section} | {item.name} | {shown} | {item.metadata['kind']} | {item.metadata['meaning']} |"


if __name__ == "__main__":
    print(reference_table())
