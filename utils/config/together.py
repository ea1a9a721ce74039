"""What values of a configuration must fit together."""

from collections.abc import Mapping

from utils.config.strict_yaml import Item
from utils.errors import InputError


def check_together(resolved: Mapping[str, Mapping[str, object]], given: Mapping[str, Item]) -> None:
    """Raises InputError for values that are right one by one but not together, at the one given last."""
    num_classes = resolved["MODEL"]["num_classes"]
    for section, values in resolved.items():
        if section != "MODEL" and values["target_size"] > values["short_size"]:
            where = _last_given(given, f"{section}.target_size", f"{section}.short_size")
            sizes = f"target_size {values['target_size']} is larger than short_size {values['short_size']}"
            raise InputError(f"{where}: {section}: {sizes}")
        if values["topk"] > num_classes:
            where = _last_given(given, f"{section}.topk", "MODEL.topk", "MODEL.num_classes")
            raise InputError(f"{where}: {section}: topk {values['topk']} is larger than num_classes {num_classes}")
    for name in ("seglen", "image_mean", "image_std"):
        # The network holds them, and train.py validates with the network it trains.
        if resolved["TRAIN"][name] != resolved["VALID"][name]:
            where = _last_given(given, f"TRAIN.{name}", f"VALID.{name}")
            raise InputError(f"{where}: {name} must be the same in TRAIN and VALID")
    if resolved["TRAIN"]["flip_pairs"] and not resolved["TRAIN"]["flip"]:
        where = _last_given(given, "TRAIN.flip", "TRAIN.flip_pairs")
        raise InputError(f"{where}: TRAIN.flip_pairs says what a mirror exchanges, but TRAIN.flip is False")
    weights = resolved["TRAIN"]["class_weights"]
    if isinstance(weights, tuple) and len(weights) != num_classes:
        where = _last_given(given, "TRAIN.class_weights", "MODEL.num_classes")
        raise InputError(f"{where}: TRAIN.class_weights has {len(weights)} numbers, num_classes is {num_classes}")
    evens = {
        "TRAIN.class_weights": weights == "balanced",
        "TRAIN.balance_classes": resolved["TRAIN"]["balance_classes"],
    }
    asked = [name for name, is_asked in evens.items() if is_asked]
    if len(asked) == 2:
        where = _last_given(given, *asked)
        raise InputError(f"{where}: class_weights balanced and balance_classes both even out the classes: choose one")
    if asked and resolved["TRAIN"]["format"] == "pkl":
        where = _last_given(given, *asked, "TRAIN.format", "MODEL.format")
        raise InputError(f"{where}: {asked[0]} needs labels in the list; of format pkl they lie in the pickles")


def _last_given(given: Mapping[str, Item], *names: str) -> str:
    """Returns the place of the one among `names` that was given last."""
    return [item.where for name, item in given.items() if name in names][-1]
