"""Several networks as one: the mean of their probabilities, and the check that they have the same classes."""

from collections.abc import Sequence

import numpy as np

from inference.label_kinds import ONE, LabelKind
from utils.errors import InputError, quoted


def mean_logits(probabilities: Sequence[np.ndarray], factors: Sequence[float], kind: LabelKind = ONE) -> np.ndarray:
    """Return logits float64 [N, K] of the weighted mean of the networks' probabilities, [N, K] each."""
    total = sum(factor * part.astype(np.float64) for factor, part in zip(factors, probabilities, strict=True))
    return kind.logits_of(total / sum(factors))


def mean_thresholds(thresholds: Sequence[Sequence[float]], factors: Sequence[float]) -> list[float]:
    """Return the threshold of each class for many labels: the weighted mean, as no validation chose one for the mean.

    thresholds: of each network.
    """
    return [float(f"{number:.6g}") for number in np.average(thresholds, axis=0, weights=factors)]


def describe_mean(protocols: Sequence[str], factors: Sequence[float], kind: LabelKind = ONE) -> str:
    """Return how the mean is computed, in words. protocols: of each network."""
    parts = " + ".join(f"{factor:g} * ({protocol})" for factor, protocol in zip(factors, protocols))
    said = "" if kind is ONE else " and of the thresholds"
    return f"mean of the probabilities{said} of {len(protocols)} networks: {parts}"


def check_same_labels(labels: Sequence[str], owners: Sequence[str]) -> None:
    """Raise InputError, which names two owners, if a network's MODEL.labels differs from the first network's."""
    for ours, who in zip(labels, owners):
        if ours != labels[0]:
            raise InputError(f"{who}: MODEL.labels is {ours}, but {labels[0]} in {owners[0]}")


def check_same_classes(names: Sequence[Sequence[str]], owners: Sequence[str]) -> Sequence[str]:
    """Return the class names that all networks share. A network without known names has numbers, which fit any names.

    names: of each network. Raises InputError, which names two owners and the first difference.
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
