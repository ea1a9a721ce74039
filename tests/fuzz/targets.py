"""The readers under test by name. Each is made when it is asked for, because its imports may take a second."""

import importlib
from dataclasses import replace

from fuzz.target import Target

# Name -> the module and function that makes it, and the function's arguments.
TARGETS: dict[str, tuple] = {
    "hostile_videos": ("video_targets", "hostile_videos"),
    "videos": ("video_targets", "videos"),
    "more_videos": ("video_targets", "more_videos"),
    "opencv": ("video_targets", "videos", "opencv"),
    "decord": ("video_targets", "videos", "decord"),
    "frame_pickles": ("video_targets", "frame_pickles"),
    "frame_folders": ("video_targets", "frame_folders"),
    "hostile_weights": ("weight_targets", "hostile_weights"),
    "weights": ("weight_targets", "weights"),
    "checkpoints": ("weight_targets", "checkpoints"),
    "configurations": ("text_targets", "configurations"),
    "peer_configurations": ("text_targets", "peer_configurations"),
    "file_lists": ("text_targets", "file_lists"),
    "labels": ("text_targets", "labels"),
}


def make_target(name: str) -> Target:
    """Return the target of that name."""
    module, function, *arguments = TARGETS[name]
    target = getattr(importlib.import_module(f"fuzz.{module}"), function)(*arguments)
    # Decord's messages go to stderr, at most one for each file.
    return replace(target, quiet=name != "decord")
