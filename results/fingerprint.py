"""What a run is, in a few digests: rows may only be joined by a run that would compute the same ones."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from reader.build import describe_protocol
from reader.filelist import FileList
from utils.config.keys import EngineConfig
from utils.config.loading import Config

if TYPE_CHECKING:  # what takes time is imported where it is used
    from inference.network import Network

# Keys of a section that change no result, or whose files' contents are compared instead.
_WITHOUT_EFFECT = {"filelist", "weights", "kinetics_labels", "use_gpu", "num_reader_threads", "buf_size"}


def fingerprint(
    script: str,
    config: Config,
    section: EngineConfig,
    network: "Network",
    names: Sequence[str],
    entries: FileList,
    num_ranks: int = 1,
    **more: object,
) -> dict[str, object]:
    """Return the first line of a journal: what is computed of which videos, and the SHA-256 of weights, list and keys.

    names: of the classes. more: facts of the script.
    """
    keys = {name: value for name, value in asdict(section).items() if name not in _WITHOUT_EFFECT}
    configuration = {"model": asdict(config.model), "section": keys, "names": list(names)}
    return {
        "script": script,
        "videos": len(entries),
        "weights": network.weights,
        "list": entries.digest,
        "configuration": hashlib.sha256(json.dumps(configuration).encode()).hexdigest(),
        "arithmetic": network.precision,
        "processes": num_ranks,
        **more,
        "protocol": f"{describe_protocol(section)}, {network.description}",
    }
