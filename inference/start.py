"""From a checked configuration to a network ready to answer, in as many processes as there are devices."""

import os
from typing import TYPE_CHECKING

from utils.config.flags import Flags
from utils.config.keys import InferConfig, TestConfig
from utils.config.loading import Config
from utils.processes.launch import start_ranks
from utils.processes.ranks import World, join_ranks
from utils.processes.signals import signals_held

if TYPE_CHECKING:  # it imports paddle, whose environment is set here first
    from inference.network import Network


# Set to 1 where nobody has said how many threads there shall be: paddle writes its own default over that.
FREE_THREADS = "TSN_FREE_THREADS"


def set_environment() -> None:
    """Sets what paddle takes from its environment alone, for both CPU engines; call it before anything imports paddle.

    The older graph format: its predictors are there in 0.1 s instead of 2 s and compute 10 to 20% faster, and only its
    operators can be given to oneDNN one by one. What export.py writes is in the newer one, the default of Paddle 3.
    """
    os.environ["FLAGS_enable_pir_api"] = "0"
    # Milliseconds: by default the threads of a step spin for 200 after it, on the cores that the readers need.
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    os.environ[FREE_THREADS] = "0" if "OMP_NUM_THREADS" in os.environ else "1"


def open_network(
    flags: Flags, config: Config, section: TestConfig | InferConfig, num_videos: int
) -> "tuple[World, Network]":
    """The processes that share the work, and this one's network.

    Where there are several, the first process never returns. Raises InputError when the device, the precision or the
    weights are not to be had.
    """
    set_environment()
    start_ranks(flags.nproc, section.use_gpu, num_videos)

    from utils.processes.device import choose_device

    with signals_held():  # all ranks come together, or none
        device = choose_device(section.use_gpu, config.demands_gpu)
        world = join_ranks(device)

    from inference.network import load_network

    return world, load_network(config, section, device, num_videos, world.size)
