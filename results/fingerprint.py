"""Describe a run in a few digests: a run may only reuse rows that it would compute itself."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from reader.build import describe_protocol
from reader.filelist import FileList
from utils.config.keys import EngineConfig
from utils.config.loading import Config

if TYPE_CHECKING:  # slow imports happen where they are used
    from inference.network import Network

# Keys that change no result, or whose files are compared by content instead.
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
    """Return the first line of a journal: the kind of result and the SHA-256 of weights, list and keys.

    names: the class names. more: further facts from the script.
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
