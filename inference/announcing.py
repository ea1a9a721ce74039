"""The lines that a script prints about its network before it begins to answer."""

from typing import Protocol

from models.registry import backbone_of, known_name
from reader.build import describe_reading
from utils.config.flags import Flags
from utils.config.keys import EngineConfig
from utils.config.loading import Config
from utils.config.session import announce


class Named(Protocol):
    """The facts about a network, here or on another machine, that are printed."""

    description: str
    precision: str


def announce_network(
    flags: Flags, config: Config, section: EngineConfig, data: str, weights: str, precision: str
) -> None:
    """Print model, weights, data, reading and precision, one line each.

    data: the videos, in words; "" prints no line. weights, precision: in words. There is no line for the time that the
    run will take: nothing is measured yet. The progress bar shows the time left.
    """
    auto = section.precision == "auto" and not precision.startswith("float32")
    facts = {
        "weights": weights,
        "data": data,
        "reading": describe_reading(section),
        "precision": precision + "; --precision=float32 for full precision" * auto,
    }
    announce(flags, config, describe_model(config), **facts)


def describe_model(config: Config) -> str:
    """Return the network in words: TSN resnet-50, 400 classes."""
    return f"{known_name(config.model.name)} {backbone_of(config.model)}, {config.model.num_classes} classes"


def weights_and_precision(network: Named) -> tuple[str, str]:
    """Return (its weights, its precision), each in words."""
    return network.description.removeprefix(f"{network.precision}, weights "), network.precision
