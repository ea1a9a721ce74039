"""Open a section's videos and its network together: readers start while the network is loaded."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from reader.build import build_loader, describe_protocol
from reader.filelist import FileList
from reader.loader import Loader
from utils.config.flags import Flags
from utils.config.keys import EngineConfig
from utils.config.loading import Config
from utils.processes.ranks import World

if TYPE_CHECKING:  # slow imports happen while the readers start
    from inference.finding import FoundNetwork
    from inference.network import Network


class OpenedRun(NamedTuple):
    """A rank's readers, its network, and how videos are read and computed, in words."""

    loader: Loader
    network: "Network"
    protocol: str


@contextmanager
def opened(
    flags: Flags, config: Config, section: EngineConfig, entries: FileList, data: str, needs_label: bool,
    world: World, device: str, finding: "Future[FoundNetwork] | None" = None,
) -> Iterator[OpenedRun]:  # fmt: skip
    """Yield what a rank needs to compute rows of the entries. The readers end with the context.

    data: the videos, in words. finding: see `load_network`, whose errors are raised.
    """
    size = -(-section.batch_size // world.size)
    with build_loader(config, section, entries, needs_label=needs_label, batch_size=size, world=world) as loader:
        from inference.announcing import announce_network, weights_and_precision
        from inference.network import load_network

        network = load_network(config, section, device, len(entries), world.ranks_here, finding)
        announce_network(flags, config, section, data, *weights_and_precision(network))
        yield OpenedRun(loader, network, f"{describe_protocol(section)}, {network.description}")
