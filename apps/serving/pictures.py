"""Make the pictures for an answer: frames that the network saw, and heat maps of the class."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from reader.clip import middle_view
from results.pages.frames import shown_positions
from results.pages.page import picture
from utils.config.keys import InferConfig

if TYPE_CHECKING:  # slow imports happen where they are used
    from inference.network import Network


class Pictures:
    """Makes JPEGs as data addresses, for at most 6 segments of a clip."""

    def __init__(self, network: "Network", section: InferConfig, ask: Callable[..., Future] | None = None):
        """ask: runs a function on the network's own thread; None: call it directly."""
        self._network, self._section, self._ask = network, section, ask
        self._positions = shown_positions(section)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heat maps")

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def frames(self, clip: np.ndarray) -> list[str]:
        """Return the frames of a clip uint8 [V * T, H, W, C] as pictures."""
        return [picture(frame) for frame in self._view(clip)[self._positions, ..., :3]]

    async def heat_maps(self, clip: np.ndarray, class_id: int) -> list[str]:
        """Return the same frames with a heat map of the class.

        Empty if the network has no maps.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._heat_maps, clip, class_id)

    def _heat_maps(self, clip: np.ndarray, class_id: int) -> list[str]:
        from results.pages.heatmaps import activation_maps, overlays

        if not hasattr(self._model, "feature_maps"):
            return []
        view, positions = self._view(clip), self._positions
        if not self._model.shifts:  # frames do not see each other, so frames that are not shown need no map
            view, positions = view[positions], range(len(positions))
        work = partial(activation_maps, self._model, view, class_id)
        maps = self._ask(work).result() if self._ask else work()
        if maps.shape[1:] == (1, 1):
            return []  # a map with one place per frame cannot show where
        drawn = overlays(view[..., :3], maps)
        return [picture(drawn[i]) for i in positions]

    @cached_property
    def _model(self) -> Any:
        """The network in a form that gives maps. On the CPU, making it takes a second and memory, once."""
        return self._network.model()

    def _view(self, clip: np.ndarray) -> np.ndarray:
        return middle_view(clip, self._section)
