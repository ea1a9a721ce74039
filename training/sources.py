"""Build the loaders and networks for training and validation on videos, which are read again in each epoch."""

from contextlib import ExitStack
from dataclasses import dataclass

import paddle

from inference.eager import eager_start
from inference.network import Network
from inference.views import in_pieces, over_views
from reader.build import build_loader
from reader.filelist import FileList
from reader.loader import Loader
from training.amp import Amp
from training.features import FeatureLoader
from utils.config.loading import Config
from utils.processes.ranks import World


@dataclass(frozen=True)
class Lists:
    """The lists of a run, and this process's share of reading them."""

    config: Config
    entries: FileList
    valid_entries: FileList  # empty: no validation
    batch_size: int  # of this process
    world: World

    @property
    def valid_batch_size(self) -> int:
        """Return this process's batch size in validation."""
        return -(-self.config.valid.batch_size // self.world.size)


@dataclass(frozen=True)
class Sources:
    """Loaders, the model for training batches, and the network for validation; None without validation."""

    loader: Loader | FeatureLoader
    model: paddle.nn.Layer
    valid_loader: Loader | FeatureLoader | None
    valid_network: Network


def video_sources(stack: ExitStack, lists: Lists, seed: int, model: paddle.nn.Layer, amp: Amp) -> Sources:
    """Return sources that read videos until the stack ends. seed: for frames, crops and mirrors."""
    config, world = lists.config, lists.world
    loader = build_loader(config, config.train, lists.entries, seed, batch_size=lists.batch_size, world=world)
    stack.enter_context(loader)
    valid_loader = None
    if lists.valid_entries:
        batch_size = lists.valid_batch_size
        valid_loader = build_loader(config, config.valid, lists.valid_entries, batch_size=batch_size, world=world)
        stack.enter_context(valid_loader)
    views = over_views(in_pieces(eager_start(model, amp.autocast, amp.device), amp.device), config.valid)
    # A GPU gets the next batch while it computes; on the CPU nothing else could compute.
    return Sources(loader, model, valid_loader, Network(views, 1 if amp.device == "gpu" else 0, "eager"))
