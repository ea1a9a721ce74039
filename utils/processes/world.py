"""Start the processes that share the work of a run, one for each device."""

from utils.config.flags import Flags
from utils.config.loading import Config
from utils.config.shared_keys import SectionConfig
from utils.processes.launch import start_ranks
from utils.processes.ranks import World, join_ranks, linked_ranks, problems_shared
from utils.processes.signals import signals_held


def open_world(
    flags: Flags, config: Config, section: SectionConfig, useful: int = 1_000_000, tensors: bool = False
) -> tuple[World, str]:
    """Return the processes that share the work, and this one's device, "gpu" or "cpu".

    If there are several, the launching process never returns. useful: see `start_ranks`. tensors: whether they also
    share tensors. Raise InputError if the device is not available.
    """
    start_ranks(flags.nproc, section.use_gpu, useful)

    from utils.processes.device import choose_device, use_device

    with signals_held():  # so that either all ranks connect, or none
        with problems_shared():
            device = choose_device(section.use_gpu, config.demands_gpu)
        world = linked_ranks() if device == "cpu" and not tensors else None
        if world is None:
            use_device(device)
            world = join_ranks(device)
    return world, device
