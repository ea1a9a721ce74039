"""What a run trains and validates on, and who computes it: videos, which are read again in every epoch."""

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
    """The videos of a run, and this process's part in reading them."""

    config: Config
    entries: FileList
    valid_entries: FileList  # empty: no validation
    batch_size: int  # of this process
    world: World

    @property
    def valid_batch_size(self) -> int:
        """That of this process."""
        return -(-self.config.valid.batch_size // self.world.size)


@dataclass(frozen=True)
class Sources:
    """Loaders, the model of the one's batches, and the network of the other's; None without validation."""

    loader: Loader | FeatureLoader
    model: paddle.nn.Layer
    valid_loader: Loader | FeatureLoader | None
    valid_network: Network


def video_sources(stack: ExitStack, lists: Lists, seed: int, model: paddle.nn.Layer, amp: Amp) -> Sources:
    """Return the readers of the videos, which end with the stack; `seed` is that of frames, crops and mirrors."""
    config, world = lists.config, lists.world
    loader = build_loader(config, config.train, lists.entries, seed, batch_size=lists.batch_size, world=world)
    stack.enter_context(loader)
    valid_loader = None
    if lists.valid_entries:
        batch_size = lists.valid_batch_size
        valid_loader = build_loader(config, config.valid, lists.valid_entries, batch_size=batch_size, world=world)
        stack.enter_context(valid_loader)
    views = over_views(in_pieces(eager_start(model, amp.autocast, amp.device), amp.device), config.valid)
    # A GPU has the next batch while it computes; on the CPU there is nobody else to compute.
    return Sources(loader, model, valid_loader, Network(views, 1 if amp.device == "gpu" else 0, "eager"))
