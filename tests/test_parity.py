"""predict.py with a file of the original's weights gives the original's probabilities, clip by clip.

This file repeats each step of the original: it chooses frames, resizes them with Pillow, crops them, and computes the
network in NumPy (fluid_reference.py).
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import LABELS, make_clip, run_narrow, run_script, write_list
from fluid_reference import reference_logits
from weight_formats import random_state, write_pickle

SHORT_SIDE, CROP = 72, 48
# (width, height), number of frames
CLIPS = {
    "landscape": ((340, 256), 11),
    "portrait": ((240, 320), 12),
    "square": ((300, 300), 10),
    "720p": ((1280, 720), 5),
    "odd": ((321, 243), 21),
    "wide": ((640, 270), 4),
    "small": ((44, 36), 15),
    "fits": ((100, 72), 14),
    "fits, portrait": ((72, 96), 8),
    "one frame": ((90, 60), 1),
}


def picture(width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """Return uint8 [height, width, 3]: coarse shapes under noise."""
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    return np.clip(np.asarray(coarse) + random.normal(0, 20, (height, width, 3)), 0, 255).astype(np.uint8)


def central_indices(num_frames: int, num_segments: int) -> list[int]:
    """Return the original's choice: the middle of each segment, or all frames repeatedly if there are fewer."""
    length = num_frames // num_segments
    return [i * length + (length - 1) // 2 if length else i % num_frames for i in range(num_segments)]


def prepare(frame: np.ndarray, short_side: int, crop: int) -> np.ndarray:
    """Return the frame resized as in the original, unless its short side fits, and cropped in the centre."""
    image = Image.fromarray(frame)
    if min(image.size) != short_side:
        sides = short_side, int(short_side * 4 / 3)
        image = image.resize(sides if image.width < image.height else sides[::-1], Image.BILINEAR)
    left, top = (int(round((side - crop) / 2)) for side in image.size)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[Path, np.ndarray]:
    """Return path -> frames uint8 [T, H, W, 3] of each of CLIPS, encoded without loss."""
    folder = tmp_path_factory.mktemp("parity")
    random = np.random.default_rng(0)
    made = {}
    for name, (size, length) in CLIPS.items():
        frames = np.stack([picture(*size, random) for _ in range(length)])
        make_clip(folder / f"{name}.mp4", frames)
        made[folder / f"{name}.mp4"] = frames
    return made


def prepared(clips: dict[Path, np.ndarray], num_segments: int) -> np.ndarray:
    """Return uint8 [N, T, CROP, CROP, 3], the input of the original's network."""
    clips_of = []
    for frames in clips.values():
        chosen = central_indices(len(frames), num_segments)
        clips_of.append([prepare(frames[i], SHORT_SIDE, CROP) for i in chosen])
    return np.array(clips_of)


def weights_and_logits(frames: np.ndarray, num_layers: int, narrow: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return (a ResNet's weights, the original's logits [N, K]) for frames [N, T, H, W, C].

    The weights are so sensitive that a few pixels that differ by 1 change the answer. The classifier's bias balances
    the classes, so the probabilities are far from 0 and 1.
    """
    state = random_state(num_layers, len(LABELS), seed=3, narrow=narrow)
    state["fc_0.w_0"] *= 10
    logits = reference_logits(state, frames, num_layers)
    balance = logits.mean(axis=0).astype("float32")
    state["fc_0.b_0"] -= balance
    return state, logits - balance


# The original's network; and other frame numbers, for which a small one is enough.
@pytest.mark.parametrize("num_segments, num_layers, run", [(3, 50, run_script), (7, 18, run_narrow)])
def test_probabilities_are_the_originals(num_segments, num_layers, run, clips, workspace, tmp_path):
    state, logits = weights_and_logits(prepared(clips, num_segments), num_layers, run is run_narrow)
    write_pickle(tmp_path / "TSN.pdparams", state)
    filelist = write_list(tmp_path / "clips.list", [(path, 0) for path in clips])
    settings = [
        f"MODEL.num_layers={num_layers}", f"INFER.seg_num={num_segments}", f"INFER.short_size={SHORT_SIDE}",
        f"INFER.target_size={CROP}", "INFER.use_gpu=False",
    ]  # fmt: skip
    ended = run(
        "predict", workspace.config, f"--weights={tmp_path / 'TSN.pdparams'}", f"--save_dir={tmp_path / 'out'}",
        f"--filelist={filelist}", "--precision=float32", f"--infer_topk={len(LABELS)}", "--report=False",
        *(flag for setting in settings for flag in ("--set", setting)),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    ours = np.zeros((len(clips), len(LABELS)))
    for row, result in zip(ours, json.loads((tmp_path / "out" / "predictions.json").read_text())):
        for prediction in result["predictions"]:
            row[prediction["class_id"]] = prediction["probability"]

    theirs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    difference = dict(zip(CLIPS, np.abs(ours - theirs).max(axis=1).tolist()))
    assert max(difference.values()) < 0.0005, difference
    assert theirs.max(axis=1).mean() < 0.9  # the answers are not obvious
