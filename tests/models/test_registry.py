"""Models by name, in any spelling, and built from a configuration."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from conftest import ROOT
from models import build_model, get_model_class
from models.registry import backbone_of
from models.tsm import TSM
from models.tsn import TSN
from networks import unfilled
from utils.config.shared_keys import ModelConfig
from utils.errors import InputError


@pytest.mark.parametrize("name", ["TSN", "tsn", "Tsn"])
def test_names_are_found_in_any_case(name):
    assert get_model_class(name) is TSN


@pytest.mark.parametrize("name", ["PPTSMv2", "PP-TSMv2", "pptsm_v2", "PPTSM_v2"])
def test_a_hyphen_or_an_underscore_does_not_count(name):
    """PaddleVideo writes the name in these ways."""
    assert get_model_class(name).__name__ == "PPTSMv2"
    assert backbone_of(ModelConfig(name)) == "lcnet_v2" and backbone_of(ModelConfig("tsm")) == "resnet-50"


@pytest.mark.parametrize("name", ["TSMN", "", "TSN "])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(InputError, match=f"^unknown model {name!r}; .* PPTSMv2, TSM, TSN$"):
        get_model_class(name)


def test_names_are_known_without_paddle():
    program = "import sys, models; print(models.model_names(), 'paddle' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout == "['PPTSMv2', 'TSM', 'TSN'] False\n"


def test_build_model_translates_the_configuration():
    config = SimpleNamespace(
        name="tsn", num_classes=5, backbone="resnet", num_layers=18, seg_num=4, seglen=2, image_mean=(0.1, 0.2, 0.3),
        image_std=(1, 1, 2), dropout=0.25,
    )  # fmt: skip
    model = unfilled(build_model, config, data_format="NHWC")
    assert (model.num_classes, model.num_segments, model.num_layers, model.seglen) == (5, 4, 18, 2)
    assert model.data_format == "NHWC"
    assert (model.variant, model.dropout) == ("resnet", 0.25)
    assert model.backbone.conv1.weight.shape == [64, 6, 7, 7]
    assert model.shift.tolist() == pytest.approx([-0.1, -0.2, -0.15] * 2)


def test_build_model_makes_each_model_on_each_backbone():
    for name, model_class in (("TSN", TSN), ("tsm", TSM)):
        for backbone in ("resnet", "resnet_vd"):
            model = unfilled(build_model, ModelConfig(name=name, num_layers=18, backbone=backbone))
            assert type(model) is model_class and model.variant == backbone
            assert model.backbone.vd == (backbone == "resnet_vd")
