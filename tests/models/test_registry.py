from dataclasses import replace
from types import SimpleNamespace

import pytest

from models import build_model, get_model_class, model_names, register_model
from models.tsm import TSM
from models.tsn import TSN
from utils.config.keys import ModelConfig
from utils.errors import InputError


@pytest.mark.parametrize("name", ["TSN", "tsn", "Tsn"])
def test_names_are_found_in_any_case(name):
    assert get_model_class(name) is TSN


@pytest.mark.parametrize("name", ["TSMN", "", "TSN "])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(InputError) as error:
        get_model_class(name)
    assert str(error.value) == f"unknown model {name!r}; known models: TSM, TSN"


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="a model named tsn is registered already"):
        register_model("tsn")(object)
    assert model_names() == ["TSM", "TSN"]


def test_build_model_translates_the_configuration():
    config = SimpleNamespace(
        name="tsn", num_classes=5, backbone="resnet", num_layers=18, seg_num=4, seglen=2, image_mean=(0.1, 0.2, 0.3),
        image_std=(1, 1, 2), dropout=0.25,
    )  # fmt: skip
    model = build_model(config, data_format="NHWC")
    assert (model.num_classes, model.num_segments, model.num_layers, model.seglen) == (5, 4, 18, 2)
    assert model.data_format == "NHWC"
    assert (model.variant, model.dropout) == ("resnet", 0.25)
    assert model.backbone.conv1.weight.shape == [64, 6, 7, 7]
    assert model.shift.tolist() == pytest.approx([-0.1, -0.2, -0.15] * 2)


def test_build_model_makes_each_model_on_each_backbone():
    for name, model_class in (("TSN", TSN), ("tsm", TSM)):
        for backbone in ("resnet", "resnet_vd"):
            model = build_model(replace(ModelConfig(name=name, num_layers=18), backbone=backbone))
            assert type(model) is model_class and model.variant == backbone
            assert model.backbone.vd == (backbone == "resnet_vd")
