"""Class activation maps: their mean makes the logit, and on the demo's clips they lie on the object."""

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from data.make_demo import CLASSES, HUES, draw_clip, hsv_to_rgb, write_mp4
from models.pptsm_v2 import PPTSMv2
from models.tsm import TSM
from models.tsn import TSN
from networks import eager
from reader.dataset import ClipSpec, read_clip
from results.pages import heatmaps
from results.pages.heatmaps import activation_maps, overlays, write_png

SPEC = ClipSpec(3, 1, 72, 72)


@pytest.mark.parametrize("network, backbone", [(TSN, "resnet"), (TSM, "resnet_vd"), (PPTSMv2, "resnet")])
def test_maps_and_bias_make_the_logit(narrow_networks, monkeypatch, network, backbone):
    monkeypatch.setattr(heatmaps, "_FRAMES_AT_ONCE", 2)
    paddle.seed(0)
    model = network(5, num_layers=18, backbone=backbone)
    model.fc.bias.set_value(paddle.to_tensor(np.linspace(-1, 1, 5, dtype=np.float32)))
    model.eval()
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    [logits] = eager(model, frames[None])
    for class_id in (0, 3):
        maps = activation_maps(model, frames, class_id)
        assert maps.shape == (5, 2, 2) and maps.std() > 1e-3
        assert abs(maps.mean() + float(model.fc.bias[class_id]) - logits[class_id]) < 1e-4


class Hues(nn.Layer):
    """A backbone with a feature for each of the demo's five hues, made by hand. 72x72 pixels give a map of 9x9 places.

    The first layer projects colours on twelve directions of the colour circle; grey gives 0. The second layer
    separates the five hues.
    """

    num_features = len(HUES)

    def __init__(self):
        super().__init__()
        angles = np.radians(np.arange(0, 360, 30))
        circle = np.cos(angles[:, None] - np.radians([0, 120, 240]))  # [12, RGB], each row adds up to 0
        seen = np.maximum([circle @ hsv_to_rgb(hue, 1, 1) / 255 for hue in HUES.values()], 0)  # [5, 12]
        self.project, self.separate = (nn.Conv2D(*size, 1, bias_attr=False) for size in ((3, 12), (12, 5)))
        for layer, weight in ((self.project, circle), (self.separate, np.linalg.pinv(seen).T)):
            layer.weight.set_value(paddle.to_tensor(weight[..., None, None].astype(np.float32)))

    def feature_maps(self, x, shift=None):
        return F.avg_pool2d(F.relu(self.separate(F.relu(self.project(x)))), 8)

    def forward(self, x, shift=None):
        return self.feature_maps(x).mean(axis=[2, 3])


@pytest.fixture
def tuned():
    """Provide a TSN on `Hues`: a class's own hues count for it, all others against it."""
    model = TSN(len(CLASSES), num_layers=18, image_mean=(0, 0, 0), image_std=(1, 1, 1))
    model.backbone, model.fc = Hues(), nn.Linear(len(HUES), len(CLASSES))
    weight = [[1.0 if hue in colours else -2.0 for colours in CLASSES] for hue in HUES]
    model.fc.weight.set_value(paddle.to_tensor(weight))
    model.eval()
    return model


def test_the_map_lies_on_the_object_of_the_class(tuned, tmp_path):
    right, on_object, means = 0, [], []
    for number in range(16):
        path = tmp_path / f"{number}.mp4"
        write_mp4(path, draw_clip(np.random.default_rng([6, number]), CLASSES[number % 8]))
        frames, _ = read_clip(SPEC, str(path))
        named = int(eager(tuned, frames[None]).argmax())
        if named != number % 8:
            continue
        right += 1
        maps = activation_maps(tuned, frames, named)
        for frame, places in zip(frames, maps):
            coloured = (np.ptp(frame, axis=2) > 60).astype(np.float32)  # the background is grey
            share = cv2.resize(coloured, (9, 9), interpolation=cv2.INTER_AREA)
            on_object.append(share.flat[places.argmax()] > 0)
            means.append((places[share > 0.5].mean(), places[share == 0].mean()))
    inside, outside = np.mean(means, axis=0)
    assert right >= 15 and all(on_object) and inside > 100 * abs(outside)


def test_a_picture_is_brightest_where_its_map_is_highest(tmp_path):
    frames = np.full((2, 32, 32, 3), 128, np.uint8)
    maps = np.zeros((2, 4, 4), np.float32)
    maps[0, 1, 2], maps[1, 3, 0], maps[1, 0, 0] = 8, 4, -9
    for number, picture in enumerate(overlays(frames, maps)):
        write_png(tmp_path / f"{number}.png", picture)
    first, second = (cv2.imread(str(tmp_path / f"{number}.png")) for number in range(2))
    assert first.shape == second.shape == (224, 224, 3)
    assert first[84, 140].min() > first[196, 28].max() and (first[84, 140] > second[196, 28]).all()  # one shared scale
    assert np.array_equal(second[0, 0], first[223, 0])  # negative values are as dark as 0


def test_large_frames_keep_their_size():
    [picture] = overlays(np.zeros((1, 256, 256, 3), np.uint8), np.zeros((1, 8, 8), np.float32))
    assert picture.shape == (256, 256, 3) and picture.max() < 10
