"""What every script does between its flags and its work: load the configuration, say what holds."""

from dataclasses import asdict

from utils.config.beside import path_beside
from utils.config.flags import SECTION_OF, Flags, parse_flags
from utils.config.loading import Config, load_config
from utils.config.published import WEIGHTS_KEYS, find_published
from utils.log import say


def open_config(script: str) -> tuple[Flags, Config]:
    """Return the flags of the command line and the configuration they lead to."""
    flags = parse_flags(script)
    return flags, load_config(flags.config, flags.section_overrides, flags.sets, SECTION_OF[script])


def announce(flags: Flags, config: Config) -> None:
    """Say once what the run goes by: where its configuration comes from, and what of it has no effect.

    With --verbose every key is said.
    """
    section, key = WEIGHTS_KEYS[SECTION_OF[flags.script]].lower().split(".")
    weights = getattr(getattr(config, section), key)
    source = flags.config or path_beside(weights) or "no file"
    say(f"configuration: {source}" + (", resolved to" if flags.verbose else " (--verbose: every key)"))
    shown = ("MODEL", SECTION_OF[flags.script], *(["VALID"] if flags.script == "train" else []))
    for section in shown if flags.verbose else ():
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
