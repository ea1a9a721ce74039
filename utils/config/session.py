"""Start a script: parse its flags, load the configuration, and print what applies."""

import sys
from dataclasses import asdict
from typing import NamedTuple

from utils.config.beside import path_beside
from utils.config.flags import SECTION_OF, Flags, parse_flags
from utils.config.loading import Config, load_config
from utils.config.published import WEIGHTS_KEYS, find_published
from utils.config.weights_flag import split_weights
from utils.errors import InputError
from utils.log import say
from utils.storage.objects import is_remote

# Flags that work with one network only, besides those for which a script has no flag.
_OF_ONE = ("ray", "features", "window", "save_video", "explain")


class OneOfSeveral(NamedTuple):
    """One of several networks in --weights, as if it were the only one, with its own folder below --save_dir."""

    flags: Flags
    config: Config
    factor: float  # its weight in the mean


def open_config(script: str) -> tuple[Flags, Config]:
    """Return the flags of the command line and the configuration that they lead to."""
    flags = parse_flags(script)
    if _several(flags):
        raise InputError(f"--weights={_weights(flags)}: several networks are for predict.py, eval.py and inference.api")
    return flags, _load(flags)


def open_networks(script: str) -> tuple[Flags, list[OneOfSeveral]]:
    """Return the flags, and each network in --weights. With a single one, the flags are the same."""
    flags = parse_flags(script)
    if not (several := _several(flags)):
        return flags, [OneOfSeveral(flags, _load(flags), 1.0)]
    for name in _OF_ONE:
        if value := getattr(flags, name):
            raise InputError(f"--{name}={value}: works with one network only; --weights names {len(several)}")
    if is_remote(flags.save_dir):
        raise InputError(f"--save_dir={flags.save_dir}: several networks need a folder on this machine")
    networks = []
    for number, (weights, factor) in enumerate(several, start=1):
        own = f"--weights={weights}", f"--save_dir={flags.save_dir}/network{number}"
        alone = parse_flags(script, [*sys.argv[1:], *own])  # the last of repeated flags counts
        networks.append(OneOfSeveral(alone, _load(alone), factor))
    return flags, networks


def _several(flags: Flags) -> list[tuple[str, float]]:
    return split_weights(_weights(flags))


def _weights(flags: Flags) -> str | None:
    return None if flags.script == "train" else flags.section_overrides.get(WEIGHTS_KEYS[SECTION_OF[flags.script]])


def _load(flags: Flags) -> Config:
    return load_config(flags.config, flags.section_overrides, flags.sets, SECTION_OF[flags.script])


def announce(flags: Flags, config: Config, model: str, **facts: str) -> None:
    """Print the settings of a run: a line for its model and each fact, then the keys without effect.

    model: in words; its line also names the configuration. facts: the text of each line by its label. With --verbose
    every key is printed.
    """
    section, key = WEIGHTS_KEYS[SECTION_OF[flags.script]].lower().split(".")
    weights = getattr(getattr(config, section), key)
    source = flags.config or path_beside(weights) or "no file"
    say(f"model: {model} (configuration: {source})")
    for label, text in facts.items():
        if text:
            say(f"{label}: {text}")
    if flags.verbose:
        say("every key of the configuration:")
        for section in ("MODEL", SECTION_OF[flags.script], *(["VALID"] if flags.script == "train" else [])):
            values = asdict(getattr(config, section.lower()))
            say(f"  {section}: " + ", ".join(f"{key}={value}" for key, value in values.items()))
    if named := find_published(weights):
        say(f"published weights: {named}")
    if config.ignored_keys:
        say("keys without effect: " + ", ".join(f"{name} ({where})" for name, where in config.ignored_keys))
    if config.cut_topk:
        cut = ", ".join(f"{name}={value} ({where})" for name, where, value in config.cut_topk)
        say(f"topk cut to num_classes {config.model.num_classes}: {cut}")
    if flags.no_memory_optimize:
        say("--no_memory_optimize has no effect: there is no such pass any more")
