"""One pass over a list with a network: every video is counted once, as seen or as unreadable."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from inference.pipeline import Network, answers
from metrics.accuracy import Accuracy
from reader.loader import Batch, Loader, timed
from utils.log import progress_bar
from utils.processes.ranks import World


@dataclass
class Evaluation:
    """What a pass over a list has seen."""

    accuracy: Accuracy = field(default_factory=Accuracy)
    unreadable: list[tuple[int, str]] = field(default_factory=list)  # (position in the list, reason)
    waited: float = 0.0  # seconds without a batch to work on

    def over(self, world: World) -> "Evaluation":
        """The sum of what all ranks have seen; every video of the list is in it once."""
        parts = world.gather(self)
        return Evaluation(
            sum((part.accuracy for part in parts), Accuracy()),
            sorted(sum((part.unreadable for part in parts), [])),
            max(part.waited for part in parts),
        )


def evaluate(
    network: Network,
    loader: Loader,
    order: Sequence[int],
    on_batch: Callable[[Batch, np.ndarray, Accuracy], None],
    description: str = "evaluation",
) -> Evaluation:
    """The sums over the videos at the positions `order`.

    on_batch: called after each batch with the batch, its logits [N, K] and the sums so far.

    Raises:
        RuntimeError: seen + unreadable differ from the number of videos (a defect, never the user's fault).
    """
    result = Evaluation()

    def batches() -> Iterator[Batch]:
        for batch, waited in timed(loader.batches(order)):
            result.waited += waited
            yield batch

    with progress_bar(len(order), description) as bar:
        for batch, (logits, _) in answers(network, batches()):
            if batch.indices:
                result.accuracy.update(logits, batch.labels)
            result.unreadable += batch.unreadable
            on_batch(batch, logits, result.accuracy)
            bar.update(len(batch.indices) + len(batch.unreadable))
    counted = result.accuracy.videos + len(result.unreadable)
    if counted != len(order):
        raise RuntimeError(f"{counted} videos counted of {len(order)}")
    return result
