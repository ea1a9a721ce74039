"""Load weights of any known family into the model, all or nothing; errors give the exact names on each side."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from models.registry import build_model
from models.weights.facts import Facts, facts_of
from models.weights.names import FIRST, LCNET, find_family, is_classifier, is_no_weight, without_shift
from models.weights.paths import find_weights
from models.weights.reading import read_weights
from models.weights.remote import origin
from models.weights.shift import turn_shift
from utils.config.shared_keys import ModelConfig
from utils.errors import InputError

_SHOWN = 8  # names in one list of an error


@dataclass(frozen=True)
class LoadReport:
    """A summary of what was loaded. str() is one line for the log."""

    path: str
    family: str  # whose names the file uses
    matched: int  # parameters and statistics set
    left_out: tuple[str, ...]  # with --pretrain: the file's classifier
    ignored: int  # entries of the file that are not weights: an optimizer's state, counters

    def __str__(self) -> str:
        text = f"{self.path}: {self.matched} parameters loaded ({self.family} names)"
        if self.left_out:
            text += f"; left out: {_listing(self.left_out)}"
        return f"{text}; ignored: {self.ignored} entries that are no weights" if self.ignored else text


@dataclass(frozen=True)
class Match:
    """The file's arrays under the model's names, and the names without a match on either side."""

    arrays: dict[str, np.ndarray]
    source: dict[str, str]  # model's name -> the file's
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    left_out: tuple[str, ...]
    ignored: int
    facts: Facts


def load_weights(
    model: nn.Layer, path: str | os.PathLike, pretrain: bool = False, rows: Mapping[int, int] = {}
) -> LoadReport:
    """Load a file or folder of weights into `model` and report it; see models.weights.reading for the formats.

    pretrain: load the backbone only; the file's classifier is left out, and the first convolution is adapted to
    seglen. rows: even so load the classifier's rows of these classes: {class in the model: class in the file}.
    Raises InputError if the file does not fit the model exactly; the model is then untouched.
    """
    found = find_weights(path)
    named = origin(found)
    with _configuration_named(found):
        match = match_names(read_weights(found), model, named, pretrain and not rows)
    state = model.state_dict()
    arrays = match.arrays
    if rows:
        _keep_rows(arrays, state, model.classifier_prefix, rows, named)
    if pretrain:
        first = model.backbone_prefix + FIRST[model.variant]
        if first in arrays:
            arrays[first] = _widen(arrays[first], state[first].shape[1])
    with _configuration_named(found):
        _check_fit(match, {name: list(tensor.shape) for name, tensor in state.items()}, model, named, pretrain)
    arrays = {name: _checked_values(array, name, named) for name, array in arrays.items()}
    if match.facts.shifts and model.shifts:
        is_vd = model.variant == "resnet_vd"
        turn_shift(arrays, model.num_layers, is_vd, model.backbone_prefix, model.classifier_prefix)
    for name, array in arrays.items():
        state[name].set_value(array)
    return LoadReport(named, match.facts.family.title, len(arrays), match.left_out, match.ignored)


@contextmanager
def _configuration_named(path: Path) -> Iterator[None]:
    """Open a context whose InputError mentions the configuration beside the weights, if there is one."""
    try:
        yield
    except InputError as error:
        beside = path.parent / "config.yaml"
        if not beside.is_file():
            raise
        raise InputError(f"{error}; they may belong to the configuration beside them: --config={beside}") from None


def load_model(config: ModelConfig, path: Path) -> paddle.nn.Layer:
    """Return the configured model with the weights of a file or folder, in evaluation mode. Raise InputError."""
    with paddle.LazyGuard():  # skips random weights, which would be overwritten and take nine tenths of the time
        model = build_model(config)
    load_weights(model, path)
    model.eval()
    for layer in model.sublayers():
        if hasattr(layer, "fold"):
            layer.fold()
    return model


def match_names(weights: dict[str, np.ndarray], model: nn.Layer, path: str, pretrain: bool) -> Match:
    """Match the file's names with the model's. Raises InputError for an unknown family, or another network's."""
    known = find_family(weights)
    if known is None:
        raise InputError(f"{path}: weights of no known kind: its first names are {_listing(sorted(weights))}")
    family, prefix = known
    if (family.variant == LCNET) != (model.variant == LCNET):
        network, name = ("PP-LCNetV2", "PPTSMv2") if family.variant == LCNET else ("ResNet", "TSN, or TSM")
        raise InputError(
            f"{path}: does not fit the model ({family.title} names); the file is a {network}'s, MODEL.name is "
            f"{type(model).__name__}; set MODEL.name={name}"
        )
    spelled = {without_shift(name): name for name in weights}
    head = prefix.removesuffix("backbone.")
    classifier = _first_present(family.classifiers, head, weights), _first_present(family.biases, head, weights)
    source = {}
    for name in model.state_dict():
        if name.startswith(model.backbone_prefix):
            theirs = prefix + family.backbone(name.removeprefix(model.backbone_prefix), model.num_layers)
            source[name] = spelled.get(theirs, theirs)
        elif not pretrain:
            source[name] = classifier[0 if name.endswith("weight") else 1]
    arrays = {name: weights[theirs] for name, theirs in source.items() if theirs in weights}
    weight = model.classifier_prefix + "weight"
    if family.transposed and weight in arrays:
        arrays[weight] = arrays[weight].T
    others = sorted(weights.keys() - set(source.values()))
    extra = [name for name in others if not is_no_weight(name)]
    left_out = tuple(name for name in extra if pretrain and is_classifier(name))
    return Match(
        arrays=arrays,
        source=source,
        missing=tuple(name for name in source if name not in arrays),
        unexpected=tuple(name for name in extra if name not in left_out),
        left_out=left_out,
        ignored=len(others) - len(extra),
        facts=facts_of(weights, family, prefix, classifier),
    )


def _first_present(candidates: tuple[str, ...], prefix: str, weights: dict[str, np.ndarray]) -> str:
    """Return the first of the names that is in the file, else the first name."""
    names = [prefix + candidate for candidate in candidates]
    return next((name for name in names if name in weights), names[0])


def _widen(weight: np.ndarray, in_channels: int) -> np.ndarray:
    """Return an ImageNet convolution [64, 3, 7, 7] for `in_channels` = 3 * seglen channels: its mean, repeated.

    Dividing by seglen keeps the sum over the channels, and so the scale of the features. The original's sibling StNet
    does the same for its seglen of 5.
    """
    if weight.ndim != 4 or weight.shape[1] != 3 or in_channels == 3 or in_channels % 3:
        return weight
    mean = weight.mean(axis=1, keepdims=True, dtype="float32") / (in_channels // 3)
    return np.repeat(mean, in_channels, axis=1)


def _keep_rows(
    arrays: dict[str, np.ndarray],
    state: Mapping[str, paddle.Tensor],
    classifier: str,
    rows: Mapping[int, int],
    path: str,
) -> None:
    """Replace the file's classifier by the model's, with `rows` from the file. Raise InputError if it has none."""
    for name in (f"{classifier}weight", f"{classifier}bias"):
        ours, theirs = state[name].numpy().copy(), arrays.get(name)
        if theirs is None or theirs.shape[:-1] != ours.shape[:-1] or max(rows.values()) >= theirs.shape[-1]:
            raise InputError(f"{path}: it has no classifier of the classes that the manifest beside it names")
        ours[..., list(rows)] = theirs[..., list(rows.values())]
        arrays[name] = ours


def _check_fit(match: Match, shapes: dict[str, list[int]], model: nn.Layer, path: str, pretrain: bool) -> None:
    """Raise InputError, in one line, if parameters are missing, unexpected or of another shape.

    If other keys of the configuration would make the file fit, the error names these keys and no parameters.
    """
    wrong = {name: list(array.shape) for name, array in match.arrays.items() if list(array.shape) != shapes[name]}
    facts = match.facts
    differing = facts.differing(model, pretrain)
    said, keys = [fact for fact, _ in differing], [key for _, key in differing]
    classes, classifier = facts.classes_fact(model), {model.classifier_prefix + end for end in ("weight", "bias")}
    fits_else = not match.missing and not match.unexpected and wrong.keys() <= classifier
    if fits_else and said == [classes]:
        raise InputError(f"{path}: {classes}; set {keys[0]}, or train.py --pretrain keeps the backbone only")
    if facts.shifts_in_part and not pretrain:
        raise InputError(
            f"{path}: this TSM shifts in {facts.shifted_blocks} blocks, as mmaction2 leaves every second one out "
            "with ResNet-101, and here in all; use --pretrain to keep the backbone only"
        )
    start = f"{path}: does not fit the model ({facts.family.title} names)"
    same_names = model.num_layers == facts.num_layers and model.variant == facts.family.variant
    if differing and facts.whole and (fits_else or not same_names):
        raise InputError(f"{start}; {'; '.join(said)}; set {', '.join(keys)}")
    problems = [fact for fact in said if fact != classes] + _misfits(match, wrong, shapes)
    if problems:
        raise InputError(f"{start}; {'; '.join(problems)}")


def _misfits(match: Match, wrong: dict[str, list[int]], shapes: dict[str, list[int]]) -> list[str]:
    """Return lists of missing, unexpected and differently shaped parameters; wrong: {name: shape in the file}."""
    both = {name: name if name == theirs else f"{name} (there {theirs})" for name, theirs in match.source.items()}
    found = {
        "missing in the file": [both[name] for name in match.missing],
        "unexpected in the file": match.unexpected,
        "of another shape": [f"{both[name]}: file {size}, model {shapes[name]}" for name, size in wrong.items()],
    }
    return [f"{what}: {_listing(names)}" for what, names in found.items() if names]


def _listing(names: Iterable[str]) -> str:
    """Return the first names and the number of others, in one line even if the file's names contain line breaks."""
    names = list(names)
    shown = ", ".join(name if name.isprintable() and len(name) < 200 else repr(name[:200]) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _checked_values(array: np.ndarray, name: str, path: str) -> np.ndarray:
    """Return the array as float32.

    Raises InputError if it is not floating point, not finite, or a variance that is negative.
    """
    if array.dtype.kind != "f":
        raise InputError(f"{path}: {name} holds {array.dtype}, expected floating point")
    with np.errstate(over="ignore"):  # a value too large for float32 becomes infinite, which is refused next
        array = np.ascontiguousarray(array, dtype="float32")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name} holds a value that is not finite")
    if name.endswith("._variance") and array.min(initial=0) < 0:
        raise InputError(f"{path}: {name} holds a negative variance")
    return array
