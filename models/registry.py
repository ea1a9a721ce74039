"""Models by name: found regardless of case, imported on demand, built from a configuration."""

from dataclasses import replace
from importlib import import_module
from typing import Any

from utils.config.shared_keys import ModelConfig, SectionConfig
from utils.errors import InputError

# Name of the class -> its module, which imports paddle and is therefore imported on demand.
_MODULES = {"PPTSMv2": "models.pptsm_v2", "TSM": "models.tsm", "TSN": "models.tsn"}
# Networks with a fixed backbone, for which MODEL.backbone and MODEL.num_layers mean nothing.
_BACKBONES = {"PPTSMv2": "lcnet_v2"}
# PaddleVideo's names of networks that take two keys here.
_PEERS = {
    "pptsm": "PaddleVideo's PP-TSM is MODEL.name TSM with MODEL.backbone resnet_vd (docs/migration.md)",
    "pptsn": "PaddleVideo's PP-TSN is MODEL.name TSN with MODEL.backbone resnet_vd (docs/migration.md)",
}


def model_names() -> list[str]:
    """Return the known names, sorted."""
    return sorted(_MODULES)


def plain_name(name: object) -> str:
    """Return a name in the form used for comparison: PaddleVideo writes both PP-TSMv2 and PPTSM_v2."""
    return str(name).lower().replace("-", "").replace("_", "")


def known_name(name: str) -> str:
    """Return the model's name as it is spelled here. Raise InputError, with the known names, if it is unknown."""
    for known in _MODULES:
        if plain_name(known) == plain_name(name):
            return known
    known = _PEERS.get(plain_name(name)) or f"known models: {', '.join(model_names())}"
    raise InputError(f"unknown model {name!r}; {known}")


def get_model_class(name: str) -> type:
    """Return the class called `name`, in any case. Raise InputError, with the known names, if it is unknown."""
    known = known_name(name)
    return getattr(import_module(_MODULES[known]), known)


def build_model(config: Any, **options: Any) -> Any:
    """Return the network that the MODEL section `config` describes, with fresh weights.

    Only this function translates the configuration's keys to the classes' arguments. `options` (data_format) go to the
    class unchanged. Raises InputError for an unknown name and for a value that the network does not support.
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


def backbone_of(config: ModelConfig) -> str:
    """Return the backbone of the MODEL section's network by name: resnet-50, resnet_vd-50, lcnet_v2."""
    return _BACKBONES.get(known_name(config.name), f"{config.backbone}-{config.num_layers}")


def section_model(model: ModelConfig, section: SectionConfig) -> ModelConfig:
    """Return MODEL with its name as it is spelled here, and with the section's overrides of the network's input."""
    return replace(
        model,
        name=known_name(model.name),
        seglen=section.seglen,
        image_mean=section.image_mean,
        image_std=section.image_std,
    )
