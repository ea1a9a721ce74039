"""Check that the values of a configuration fit together."""

import itertools
from collections.abc import Mapping

from utils.config.strict_yaml import Item
from utils.errors import InputError

# Most classes for videos with many labels: a manifest holds their thresholds, a batch a byte for each.
MOST_LABELS = 20_000
# Settings for one label per video only: (key, affected values, reason).
_NOT_MANY = (
    ("balance_classes", bool, "a video of several classes cannot be drawn for one alone"),
    ("label_smoothing", bool, "a target is spread over classes of which one is true"),
    ("format", "pkl".__eq__, "a pickle holds one label"),
    ("precision", "int8".__eq__, "it is accepted by the share of videos that keep their likeliest class"),
    ("average", "probabilities".__eq__, "the views' logits are averaged"),
)


def check_together(resolved: Mapping[str, Mapping[str, object]], given: Mapping[str, Item]) -> None:
    """Raise InputError for values that are valid alone but not together, at the one that was given last."""
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
        # The network holds these values, and train.py validates with the network that it trains.
        if resolved["TRAIN"][name] != resolved["VALID"][name]:
            where = _last_given(given, f"TRAIN.{name}", f"VALID.{name}")
            raise InputError(f"{where}: {name} must be the same in TRAIN and VALID")
    if resolved["TRAIN"]["flip_pairs"] and not resolved["TRAIN"]["flip"]:
        where = _last_given(given, "TRAIN.flip", "TRAIN.flip_pairs")
        raise InputError(f"{where}: TRAIN.flip_pairs needs TRAIN.flip True")
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
        raise InputError(f"{where}: class_weights balanced and balance_classes both balance the classes: turn one off")
    if asked and resolved["TRAIN"]["format"] == "pkl":
        where = _last_given(given, *asked, "TRAIN.format", "MODEL.format")
        raise InputError(f"{where}: {asked[0]} needs labels in the list; with format pkl they are in the pickles")
    _check_many_labels(resolved, given)


def _check_many_labels(resolved: Mapping[str, Mapping[str, object]], given: Mapping[str, Item]) -> None:
    """Raise InputError if many labels per video meet a setting for one label."""
    if resolved["MODEL"]["labels"] == "single":
        return
    if resolved["MODEL"]["num_classes"] > MOST_LABELS:
        where = _last_given(given, "MODEL.labels", "MODEL.num_classes")
        raise InputError(f"{where}: MODEL.labels multi takes at most {MOST_LABELS} classes")
    for (section, values), (key, is_refused, why) in itertools.product(resolved.items(), _NOT_MANY):
        if section != "MODEL" and key in values and is_refused(values[key]):
            where = _last_given(given, f"{section}.{key}", f"MODEL.{key}", "MODEL.labels")
            raise InputError(f"{where}: {section}.{key} {values[key]} does not go with MODEL.labels multi: {why}")


def _last_given(given: Mapping[str, Item], *names: str) -> str:
    """Return the place of the one of `names` that was given last."""
    return [item.where for name, item in given.items() if name in names][-1]
