"""Class activation maps: their mean makes the logit, and on the demo's clips they lie on the object."""

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from data.make_demo import CLASSES, draw_clip, write_mp4
from models.pptsm_v2 import PPTSMv2
from models.tsm import TSM
from models.tsn import TSN
from networks import eager
from reader.dataset import ClipSpec, read_clip
from results.pages import heatmaps
from results.pages.heatmaps import activation_maps, overlays, write_png

SPEC = ClipSpec(3, 1, 72, 72)


@pytest.mark.parametrize("network, backbone", [(TSN, "resnet"), (TSM, "resnet_vd"), (PPTSMv2, "resnet")])
def test_maps_and_bias_make_the_logit(monkeypatch, network, backbone):
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


class Small(nn.Layer):
    """A backbone that learns colours in seconds. 72x72 pixels give a map of 9x9 places."""

    num_features = 32

    def __init__(self):
        super().__init__()
        self.convs = nn.LayerList([nn.Conv2D(c, 32, 3, 2, 1) for c in (3, 32, 32)])

    def feature_maps(self, x, shift=None):
        for conv in self.convs:
            x = F.relu(conv(x))
        return x

    def forward(self, x, shift=None):
        return self.feature_maps(x).mean(axis=[2, 3])


@pytest.fixture(scope="module")
def trained():
    """Provide a TSN with the backbone `Small`, trained on clips like the demo's."""
    paddle.seed(0)
    model = TSN(len(CLASSES), num_layers=18)
    model.backbone, model.fc = Small(), nn.Linear(Small.num_features, len(CLASSES))
    clips, labels = [], []
    for number in range(64):
        frames = draw_clip(np.random.default_rng([5, number]), CLASSES[number % 8])
        clips.append(frames[[len(frames) // 6, len(frames) // 2, len(frames) * 5 // 6], :, 12:84])
        labels.append(number % 8)
    clips, labels = np.stack(clips), np.array(labels)
    optimizer = paddle.optimizer.Adam(4e-3, parameters=model.parameters())
    for step in range(40):
        chosen = np.random.default_rng(step).choice(64, 16, replace=False)
        loss = F.cross_entropy(model(paddle.to_tensor(clips[chosen])), paddle.to_tensor(labels[chosen]))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()
    return model


def test_the_map_lies_on_the_object_of_the_class(trained, tmp_path):
    right, on_object, means = 0, [], []
    for number in range(16):
        path = tmp_path / f"{number}.mp4"
        write_mp4(path, draw_clip(np.random.default_rng([6, number]), CLASSES[number % 8]))
        frames, _ = read_clip(SPEC, str(path))
        named = int(eager(trained, frames[None]).argmax())
        if named != number % 8:
            continue
        right += 1
        maps = activation_maps(trained, frames, named)
        for frame, places in zip(frames, maps):
            coloured = (np.ptp(frame, axis=2) > 60).astype(np.float32)  # the background is grey
            share = cv2.resize(coloured, (9, 9), interpolation=cv2.INTER_AREA)
            on_object.append(share.flat[places.argmax()] > 0)
            means.append((places[share > 0.5].mean(), places[share == 0].mean()))
    inside, outside = np.mean(means, axis=0)
    assert right >= 13 and np.mean(on_object) > 0.95 and inside > 10 * abs(outside)


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
