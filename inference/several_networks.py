"""Several networks as one: the mean of what they say of each class, and whether they speak of the same classes."""

from collections.abc import Sequence

import numpy as np

from inference.label_kinds import ONE, LabelKind
from utils.errors import InputError, quoted


def mean_logits(probabilities: Sequence[np.ndarray], factors: Sequence[float], kind: LabelKind = ONE) -> np.ndarray:
    """Return float64 [N, K] whose probabilities are the mean, by these factors, of those [N, K] of each network."""
    total = sum(factor * part.astype(np.float64) for factor, part in zip(factors, probabilities, strict=True))
    return kind.logits_of(total / sum(factors))


def mean_thresholds(thresholds: Sequence[Sequence[float]], factors: Sequence[float]) -> list[float]:
    """Return of many labels the threshold of each class: the mean of the networks' own, by the same factors.

    No validation has chosen one for the mean.
    """
    return [float(f"{number:.6g}") for number in np.average(thresholds, axis=0, weights=factors)]


def describe_mean(protocols: Sequence[str], factors: Sequence[float], kind: LabelKind = ONE) -> str:
    """Return how the mean of several networks is made, in words; protocols: of each."""
    parts = " + ".join(f"{factor:g} * ({protocol})" for factor, protocol in zip(factors, protocols))
    said = "" if kind is ONE else " and of the thresholds"
    return f"mean of the probabilities{said} of {len(protocols)} networks: {parts}"


def check_same_labels(labels: Sequence[str], owners: Sequence[str]) -> None:
    """Raise InputError, which tells two of the owners, where one network has another MODEL.labels than the first."""
    for ours, who in zip(labels, owners):
        if ours != labels[0]:
            raise InputError(f"{who}: MODEL.labels is {ours}, but {labels[0]} in {owners[0]}")


def check_same_classes(names: Sequence[Sequence[str]], owners: Sequence[str]) -> Sequence[str]:
    """Return the names of the classes, which all have; numbers stand for names that are not known.

    names: of each network. Raise InputError, which tells two of the owners and the first difference, where they differ.
    """
    known = [(ours, who) for ours, who in zip(names, owners) if list(ours) != [str(k) for k in range(len(ours))]]
    first, of_first = known[0] if known else (names[0], owners[0])
    for ours, who in zip(names, owners):
        if len(ours) != len(first):
            raise InputError(f"{who}: {len(ours)} classes, but {of_first} has {len(first)}")
    for ours, who in known:
        at = next((k for k, (one, other) in enumerate(zip(ours, first)) if one != other), None)
        if at is not None:
            raise InputError(f"{who}: class {at} is {quoted(ours[at])}, but {quoted(first[at])} in {of_first}")
    return first
