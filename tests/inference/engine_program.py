"""Compares the engine with the eager network: python engine_program.py CONFIG WEIGHTS OTHER_WEIGHTS, in a process.

paddle takes the graph's format from the environment when it is imported, so pytest's own process will not do. Prints
what it found as JSON; test_engine.py judges it.
"""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from inference.start import set_environment

set_environment()

import paddle  # noqa: E402

import models  # noqa: E402
from inference import network  # noqa: E402
from inference.precision import has_bfloat16  # noqa: E402
from utils.config.loading import load_config  # noqa: E402
from weight_formats import random_state, write_pickle  # noqa: E402


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def difference(ours: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(softmax(ours) - softmax(exact)).max())


def open_engine(config, section, weights, num_videos=1):
    return network.load_network(config, replace(section, weights=str(weights)), "cpu", num_videos)


def load_eager(config, section, weights):
    return network.load_model(models.section_model(config.model, section), weights)


def eager(compute, frames):
    """What a model or one of its methods computes."""
    with paddle.no_grad():
        return compute(paddle.to_tensor(frames)).numpy()


def features_difference(model, engine, frames) -> float:
    """Relative to the largest feature."""
    exact = eager(model.features, frames)
    return float(np.abs(engine.start(frames)().features - exact).max() / exact.max())


def unwanted(*arguments):
    raise AssertionError("a kept graph needs no model")


def compare_tsm(config, section, backbone, num_videos, folder, frames) -> dict[str, float]:
    """The largest difference over videos of one frame and more, that of calls in flight, and how many go ahead."""
    config = replace(config, model=replace(config.model, name="TSM", backbone=backbone))
    weights = folder / f"tsm_{backbone}.pdparams"
    write_pickle(weights, random_state(18, config.model.num_classes, vd=backbone == "resnet_vd"))
    model = load_eager(config, section, weights)
    exact = {t: eager(model, frames[t]) for t in frames}
    engine = open_engine(config, section, weights, num_videos)
    backwards = difference(engine(frames[3][:, ::-1]), exact[3])
    assert backwards > 1e-3, "the frames do not see each other: there is nothing to get wrong"
    largest = max(difference(engine(frames[t]), exact[t]) for t in frames)
    waiting = [engine.start(clip[None]) for clip in np.repeat(frames[3], 4, axis=0)]
    in_flight = difference(np.concatenate([wait().logits for wait in waiting]), np.repeat(exact[3], 4, axis=0))
    return {"largest": largest, "in flight": in_flight, "ahead": engine.ahead}


def main(config_path: str, weights: Path, other: Path) -> dict[str, object]:
    config = load_config(config_path)
    section = replace(config.test, precision="float32")
    random = np.random.default_rng(0)
    frames = {t: random.integers(0, 256, (5, t, 32, 32, 3), dtype=np.uint8) for t in (1, 3, 11)}
    found: dict[str, object] = {}
    engine, model = open_engine(config, section, weights), load_eager(config, section, weights)
    exact = {t: eager(model, frames[t]) for t in frames}
    found["float32"] = {t: difference(engine(frames[t]), exact[t]) for t in frames}
    found["spread"] = float(softmax(exact[3]).std(axis=0).max())
    found["description"] = engine.description
    found["features"] = features_difference(model, engine, frames[3])
    together = engine(frames[3])
    one_by_one = np.concatenate([engine(clip[None]) for clip in frames[3]])
    found["batches"] = difference(one_by_one, together)

    mean = replace(section, image_mean=(0.1, 0.2, 0.3))
    shifted = eager(load_eager(config, mean, weights), frames[3])
    found["section's mean"] = difference(open_engine(config, mean, weights)(frames[3]), shifted)
    if has_bfloat16():
        rounded = open_engine(config, replace(section, precision="bfloat16"), weights)
        found["bfloat16"] = difference(rounded(frames[3]), exact[3])
        found["bfloat16's description"] = rounded.description

    for backbone, num_videos in (("resnet", 1000), ("resnet_vd", 1)):  # on several cores, several processes; and one
        found[f"TSM {backbone}"] = compare_tsm(config, section, backbone, num_videos, weights.parent, frames)

    build, network.load_model = network.load_model, unwanted
    found["kept"] = difference(open_engine(config, section, weights)(frames[3]), exact[3])
    network.load_model = build
    times = weights.stat()
    shutil.copyfile(other, weights)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = eager(load_eager(config, section, weights), frames[3])
    found["changed"] = difference(open_engine(config, section, weights)(frames[3]), changed)
    found["change"] = difference(changed, exact[3])
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
