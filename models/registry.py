"""Models by name: registered by a decorator, looked up without regard to case, built from a configuration."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from utils.config.keys import ModelConfig, SectionConfig
from utils.errors import InputError

_CLASSES: dict[str, type] = {}


def register_model(name: str) -> Callable[[type], type]:
    """A class decorator that makes the model known as `name`. Raises ValueError when the name is taken."""

    def register(model_class: type) -> type:
        if name.lower() in {known.lower() for known in _CLASSES}:
            raise ValueError(f"a model named {name} is registered already")
        _CLASSES[name] = model_class
        return model_class

    return register


def model_names() -> list[str]:
    """The registered names as they were registered, sorted."""
    return sorted(_CLASSES)


def get_model_class(name: str) -> type:
    """The class registered as `name`, in any case. Raises InputError that lists the known names."""
    for known, model_class in _CLASSES.items():
        if known.lower() == str(name).lower():
            return model_class
    raise InputError(f"unknown model {name!r}; known models: {', '.join(model_names())}")


def build_model(config: Any, **options: Any) -> Any:
    """The network that the MODEL section `config` describes, with fresh weights.

    The only crossing from the configuration's spelling to the modules' arguments. `options` go to the class as they
    are (data_format). Raises InputError for an unknown name and for a value the network does not have.
    """
    return get_model_class(config.name)(
        num_classes=config.num_classes,
        num_segments=config.seg_num,
        backbone=config.backbone,
        num_layers=config.num_layers,
        seglen=config.seglen,
        image_mean=config.image_mean,
        image_std=config.image_std,
        dropout=config.dropout,
        **options,
    )


def section_model(model: ModelConfig, section: SectionConfig) -> ModelConfig:
    """MODEL with what the section overrides of the network's input."""
    return replace(model, seglen=section.seglen, image_mean=section.image_mean, image_std=section.image_std)
