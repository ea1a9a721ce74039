"""The manifest beside weights: it must agree with the configuration, or it replaces a missing configuration."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from conftest import LABELS, says
from inference.finding import find_network
from training.checkpoint import Progress
from training.manifest import write_manifest
from training.start import describe_run
from utils.config.flags import parse_flags
from utils.config.loading import load_config
from utils.errors import InputError

CONTENT = b"read by nobody here"


@pytest.fixture
def weights(workspace, tmp_path) -> Path:
    """Write a file of weights with the manifest of a training with the workspace's configuration."""
    (tmp_path / "TSN.pdparams").write_bytes(CONTENT)
    about = describe_run(load_config(workspace.folder / "tiny.yaml"), {})
    digests = {".pdparams": hashlib.sha256(CONTENT).hexdigest(), ".pdopt": "0" * 64}
    write_manifest(tmp_path / "TSN", Progress(1, 0, 5, 10, 4), about, digests)
    return tmp_path / "TSN.pdparams"


def find(workspace, weights: Path, *sets: str, section: str = "INFER") -> None:
    config = load_config(workspace.folder / "tiny.yaml", {f"{section}.weights": str(weights)}, sets, section)
    find_network(config, getattr(config, section.lower()), "gpu")  # for a GPU there is no graph to look for


def test_a_manifest_that_agrees_says_nothing(workspace, weights, capsys):
    find(workspace, weights)
    find(workspace, weights.with_suffix(""), "MODEL.name=T-s-n", section="TEST")
    # Only the training depends on these keys.
    find(workspace, weights, "MODEL.seg_num=5", "MODEL.dropout=0.5")
    assert capsys.readouterr().out == ""


CONTRADICTIONS = [
    (["MODEL.name=TSM"], ["MODEL.name TSN ", "has TSM)"]),
    (["MODEL.num_layers=34"], ["MODEL.num_layers 18 ", "has 34)"]),
    (
        ["MODEL.name=TSM", "MODEL.backbone=resnet_vd"],
        ["MODEL.name TSN ", "has TSM)", "MODEL.backbone resnet ", "has resnet_vd)"],
    ),
    (["MODEL.num_classes=5"], ["MODEL.num_classes 4 ", "has 5)"]),
    (["MODEL.seglen=5"], ["MODEL.seglen 1 ", "has 5)"]),
    (["INFER.image_std=[1, 1, 1]"], ["MODEL.image_std (0.229, 0.224, 0.225) ", "has (1.0, 1.0, 1.0))"]),
    (["MODEL.image_mean=[0, 0, 0]"], ["MODEL.image_mean (0.485, 0.456, 0.406) ", "has (0.0, 0.0, 0.0))"]),
]


@pytest.mark.parametrize(("sets", "difference"), CONTRADICTIONS)
def test_another_network_is_refused(workspace, weights, sets, difference):
    with pytest.raises(InputError) as error:
        find(workspace, weights, *sets)
    says(error.value, f"{weights}: ", "TSN.json", *difference)
    assert str(error.value).count("the configuration has") == len(sets)


def test_names_in_another_order_are_refused_and_other_ones_said(workspace, weights, tmp_path, capsys):
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps([LABELS[1], LABELS[0], *LABELS[2:]]))
    with pytest.raises(InputError) as error:
        find(workspace, weights, f"INFER.kinetics_labels={labels}")
    says(error.value, f"{labels}: ", "order", "TSN.json: ", "class 0 ", "'closing a door'", "'opening a door'")
    labels.write_text(json.dumps(["die Tür öffnen", *LABELS[1:]]))
    find(workspace, weights, f"INFER.kinetics_labels={labels}")
    said = capsys.readouterr().out
    assert re.fullmatch(f"{labels}: .*{tmp_path}/TSN.json: class 0 .*'die Tür öffnen', .*'opening a door'\n", said)


def edited(**values: object):
    return lambda manifest: json.dumps(manifest | values)


OTHERS = [
    (lambda manifest: '["a label list"]', ""),
    (lambda manifest: json.dumps({"a": "b"}), ""),
    (lambda manifest: json.dumps(manifest)[:300], "{path}: not a manifest of weights (Unterminated string"),
    (lambda manifest: "[" * 100_000, "{path}: not a manifest of weights ("),
    (lambda manifest: " " * 2_000_000, "{path}: not a manifest of weights (larger than 1000000 bytes): "),
    (edited(model=[]), ""),
    (edited(model={"num_layers": 7}), "{path}: not a manifest of weights (num_layers: expected one of"),
    (edited(train={"image_std": ["\x1b[31m", 0, 0]}), "{path}: not a manifest of weights (image_std: expected"),
    (edited(classes=["a"]), "{path}: not a manifest of weights (classes are not as many names"),
    (edited(model={"name": "TSM"}, files={"TSN.pdparams": "0" * 64}), "{path} is not of TSN.pdparams: "),
]


@pytest.mark.parametrize(("damage", "said"), OTHERS)
def test_what_is_no_manifest_of_these_weights_is_passed_over(workspace, weights, damage, said, capsys):
    path = weights.with_suffix(".json")
    path.write_text(damage(json.loads(path.read_text())))
    find(workspace, weights)
    out = capsys.readouterr().out
    assert out.startswith(said.format(path=path)) and out.count("\n") == bool(said) and "\x1b" not in out


def test_without_a_configuration_the_manifest_is_one(workspace, weights):
    flags = parse_flags("predict", [f"--weights={weights.with_suffix('')}", "--infer_topk=2"])
    assert flags.config == "" and parse_flags("train", [f"--pretrain={weights}"]).config != ""
    config = load_config(flags.config, flags.section_overrides, flags.sets, "INFER")
    trained = load_config(workspace.folder / "tiny.yaml")
    assert config.model == trained.model
    assert (config.infer.short_size, config.infer.target_size, config.infer.topk) == (36, 32, 2)
    # The class names are in the manifest itself. A path in it is never followed: a stranger may have written it.
    assert config.infer.kinetics_labels == str(weights.with_suffix(".json"))
    assert config.infer.filelist != trained.infer.filelist
    given = load_config("", {"INFER.weights": str(weights)}, ["MODEL.num_layers=34"], "INFER")
    with pytest.raises(InputError) as error:
        find_network(given, given.infer, "gpu")
    says(error.value, f"{weights}: ", "TSN.json", "MODEL.num_layers 18 ", "has 34")


def test_a_damaged_configuration_in_a_manifest_is_named(weights):
    path = weights.with_suffix(".json")
    path.write_text(edited(config="MODEL:\n  wrong: 1\n")(json.loads(path.read_text())))
    with pytest.raises(InputError) as error:
        load_config("", {"INFER.weights": str(weights)}, (), "INFER")
    says(error.value, f"{path}: ", "line 2 ", "unknown key MODEL.wrong")
