"""Published weights by name: their download from a server of our own, and the keys that a name sets."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, make_clip, run_python, says, synthetic_frames
from inference.api import Classifier
from models import build_model, model_names
from models.weights import paths
from models.weights.download import place_of
from models.weights.paths import find_weights, is_here
from models.weights.table import lines
from narrow import narrow_here
from pptsm_reference import random_pptsm
from reader.class_names import read_labels
from training.start import find_start
from utils.config import published
from utils.config.flags import parse_flags
from utils.config.loading import load_config
from utils.config.published import WEIGHTS_KEYS, published_weights
from utils.errors import InputError
from weight_formats import random_state, renamed, torch_zip, write_pickle
from weight_server import serving, write_table

# Runs a script with another table than the shipped one, and traces its network narrow.
PROGRAM = """
import sys, runpy
from pathlib import Path
sys.path.append("tests")
from models.graphs import trace
from narrow import trace_narrow
from utils.config import published
_, table, *sys.argv = sys.argv
published.TABLE, trace.serve = Path(table), trace_narrow
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of the test's own, with the label list at its default place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")


def test_a_name_is_all_that_predict_needs(tmp_path, monkeypatch):
    make_clip(tmp_path / "clip.mp4", synthetic_frames(0, 0))
    state = renamed(random_state(18, 400, vd=True, narrow=True), "paddlevideo_vd", 18, "backbone.", vd=True)
    write_pickle(tmp_path / "weights", state)
    flags = f"--video_path={tmp_path / 'clip.mp4'}", f"--save_dir={tmp_path / 'out'}", "--verbose"
    command = ["-c", PROGRAM, str(tmp_path / "table.yaml"), "predict.py", "--weights=pptsm", *flags]
    with serving({"file.pdparams": (tmp_path / "weights").read_bytes()}) as server:
        model = {"name": "TSM", "backbone": "resnet_vd", "num_layers": 18, "seg_num": 8}
        write_table(tmp_path / "table.yaml", server, pptsm={"file": "file.pdparams", "model": model})
        environment = {**os.environ, "HOME": str(tmp_path), "no_proxy": "127.0.0.1"}
        ended = run_python(command, environment, ROOT, 300, kind="read")
    file = tmp_path / ".paddle" / "weights" / "file.pdparams"
    assert ended.returncode == 0, ended.stderr
    assert f"downloading {server.url}file.pdparams to {file}\n" in ended.stdout
    assert "model: TSM resnet_vd-18, 400 classes (configuration: no file)\n" in ended.stdout
    assert "backbone=resnet_vd, num_layers=18" in ended.stdout
    named = "pptsm-r50-uniform-distilled, by PaddleVideo for Kinetics-400, published top-1 75.11"
    assert f"\npublished weights: {named}\n" in ended.stdout
    assert "reading: 8 segments, short side 256 (4:3), 1 centre crop 224, sampling segment" in ended.stdout
    [result] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    labels = json.loads((ROOT / "data/dataset/kinetics_labels.json").read_text())
    assert [labels[p["class_id"]] for p in result["predictions"]] == [p["label"] for p in result["predictions"]]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(published, "TABLE", tmp_path / "table.yaml")
    with Classifier("", "pptsm") as classify:  # the server is gone
        assert classify(tmp_path / "clip.mp4")["predictions"] == result["predictions"]


# ------------------------------------------------------------------------------------------------ the table


def test_every_row_can_be_used():
    rows = published_weights()
    names = [name for row in rows for name in (row.name, *row.aliases)]
    assert len(set(names)) == len(names) >= 40 and {"pptsm", "pptsm-r101", "pptsn", "tsn", "tsm"} < set(names)
    files = [place_of(row.url).name for row in rows]
    assert len(set(files)) == len(files)  # they are all kept in one folder
    for row in rows:
        assert row.url.startswith("https://") and row.data in ("ImageNet", *CLASSES_OF), row.name
        assert row.sha256 == (row.url[-12:-4] if row.source["title"] in ("mmaction2", "torchvision") else "")
        assert row.source["licence"] and row.source["page"].startswith("https://")
        assert row.model.get("name", "TSN") in model_names(), row.name
        if row.data == "ImageNet":
            load_config("", {"TRAIN.pretrain": row.name}, section="TRAIN")
            continue
        assert row.top1 and row.model["num_classes"] == CLASSES_OF[row.data]
        for section in ("TEST", "INFER"):
            config = load_config("", {f"{section}.weights": row.name}, section=section)
            assert all(getattr(config.model, key) == value for key, value in row.model.items())
            assert all(getattr(getattr(config, section.lower()), key) == value for key, value in row.test.items())
        assert load_again(config) == config
        known = row.data == "Kinetics-400"
        assert config.infer.kinetics_labels == ("./data/dataset/kinetics_labels.json" if known else "")
        assert len(read_labels(config.infer.kinetics_labels, config.model.num_classes)) == config.model.num_classes


def test_a_familys_short_name_is_that_of_its_strongest_file():
    """Files whose accuracy comes from a test that is not available here count last."""
    families = {}
    for row in published_weights():
        if row.top1 and row.data != "ImageNet":
            of = row.data, *(row.model[key] for key in ("name", "backbone", "num_layers"))
            families.setdefault(of, []).append((not row.of_another_test, row.top1, row))
    for rows in families.values():
        *others, (_, _, best) = sorted(rows, key=lambda row: row[:2])
        assert best.aliases and not any(row.aliases for _, _, row in others), best.name


def load_again(config):
    with open("dumped.yaml", "w") as file:
        file.write(config.dump())
    return load_config("dumped.yaml")


CLASSES_OF = {"Kinetics-400": 400, "Something-Something v2": 174, "UCF101": 101}
TSN = {"name": "TSN", "backbone": "resnet", "num_layers": 50, "num_classes": 400, "seg_num": 8}
# section, name, some keys of MODEL and some of the section, with the authors' values
PROTOCOLS = [
    ("TEST", "pptsm", {"name": "TSM", "backbone": "resnet_vd", "num_layers": 50, "seg_num": 8},
     {"seg_num": 8, "sampling": "segment", "resize": "pillow", "keep_aspect_ratio": False, "crops": 1}),
    ("INFER", "pptsm-r101", {"name": "TSM", "backbone": "resnet_vd", "num_layers": 101}, {"seg_num": 8, "crops": 1}),
    ("TEST", "tsn", TSN, {"seg_num": 25, "sampling": "uniform", "resize": "opencv", "crops": 10, "average": "logits",
                          "keep_aspect_ratio": True}),
    ("TEST", "tsm", {**TSN, "name": "TSM", "seg_num": 16},
     {"seg_num": 16, "sampling": "uniform", "resize": "opencv", "crops": 10, "average": "probabilities"}),
    ("INFER", "pptsn", {**TSN, "backbone": "resnet_vd"}, {"seg_num": 25, "sampling": "linspace", "crops": 10}),
    ("INFER", "pptsmv2", {"name": "PPTSMv2", "seg_num": 16, "num_classes": 400}, {"seg_num": 16, "crops": 1}),
    ("TEST", "pptsmv2-8", {"name": "PPTSMv2", "seg_num": 8}, {"seg_num": 8, "resize": "pillow"}),
    ("TRAIN", "lcnetv2", {"name": "PPTSMv2", "seg_num": 3, "num_classes": 400}, {"sampling": "segment"}),
    ("INFER", "tsm-ssv2", {**TSN, "name": "TSM", "seg_num": 16, "num_classes": 174},
     {"seg_num": 16, "crops": 3, "short_size": 256, "average": "probabilities"}),
    ("TEST", "tsm-ucf101", {**TSN, "name": "TSM", "num_classes": 101},
     {"seg_num": 8, "sampling": "uniform", "resize": "pillow", "keep_aspect_ratio": True, "crops": 1}),
    ("TRAIN", "pptsm", {"name": "TSM", "backbone": "resnet_vd", "seg_num": 8}, {"seg_num": 8, "sampling": "segment"}),
    ("TRAIN", "tsm", {"name": "TSM", "num_classes": 400, "seg_num": 16}, {"sampling": "segment", "crops": 1}),
    ("TRAIN", "resnet101-vd", {"name": "TSN", "backbone": "resnet_vd", "num_layers": 101}, {"seg_num": 3}),
]  # fmt: skip


@pytest.mark.parametrize("section, name, model, values", PROTOCOLS)
def test_a_name_sets_the_keys(section, name, model, values):
    config = load_config("", {WEIGHTS_KEYS[section]: name}, section=section)
    assert {key: getattr(config.model, key) for key in model} == model
    assert {key: getattr(getattr(config, section.lower()), key) for key in values} == values


# flags, --set, where the key is, the name that it contradicts, what that name sets
CONTRADICTIONS = [
    ({"INFER.weights": "pptsm", "MODEL.name": "TSN"}, [],
     "--model_name=TSN: MODEL.name TSN ", "--weights=pptsm,", "MODEL.name to TSM"),
    ({"INFER.weights": "pptsm"}, ["MODEL.num_layers=18"],
     "--set MODEL.num_layers=18 ", "--weights=pptsm,", "MODEL.num_layers to 50"),
    ({"INFER.weights": "tsn"}, ["INFER.crops=1"], "--set INFER.crops=1 ", "--weights=tsn,", "INFER.crops to 10"),
    ({"INFER.weights": "tsn"}, ["MODEL.resize=pillow"],
     "--set MODEL.resize=pillow ", "--weights=tsn,", "INFER.resize to opencv"),
    ({}, ["INFER.weights=tsm-ucf101", "MODEL.num_classes=400"],
     "--set MODEL.num_classes=400 ", "--set INFER.weights=tsm-ucf101,", "MODEL.num_classes to 101"),
    ({"TRAIN.pretrain": "resnet50-vd"}, ["MODEL.backbone=resnet"],
     "--set MODEL.backbone=resnet ", "--pretrain=resnet50-vd,", "MODEL.backbone to resnet_vd"),
    ({"INFER.weights": "tsn"}, ["TEST.weights=pptsm"],
     "--set TEST.weights=pptsm: MODEL.name TSM ", "--weights=tsn,", "MODEL.name to TSN"),
]  # fmt: skip


@pytest.mark.parametrize("flags, sets, place, name, value", CONTRADICTIONS)
def test_a_key_that_contradicts_a_name_is_refused_with_both(flags, sets, place, name, value):
    with pytest.raises(InputError) as error:
        load_config("", flags, sets)
    says(error.value, place, "contradicts", name, value, "remove one of them", "the file by its path")


def test_a_file_that_contradicts_a_name_is_named_by_its_line():
    Path("x.yaml").write_text("MODEL:\n    backbone: resnet\nINFER:\n    weights: pptsm\n    topk: 3\n")
    with pytest.raises(InputError) as error:
        load_config("x.yaml")
    says(error.value, "x.yaml:2: ", "MODEL.backbone resnet ", "x.yaml:4: ", "INFER.weights pptsm", "remove one of them")
    Path("x.yaml").write_text("MODEL:\n    name: T-SM\nINFER:\n    weights: pptsm\n    topk: 3\n")
    assert load_config("x.yaml", section="INFER").model.backbone == "resnet_vd"


def test_the_name_of_the_section_that_is_run_counts():
    """Other sections' weights are no contradiction. They tell the network of a section that has no weights."""
    Path("x.yaml").write_text(
        "TRAIN:\n    pretrain: pptsm\nINFER:\n    weights: pptsm\nTEST:\n    weights: a.pdparams\n"
    )
    assert load_config("x.yaml", {"TEST.weights": "tsn"}, section="TEST").model.backbone == "resnet"
    assert load_config("x.yaml", section="TEST").model.backbone == "resnet_vd"
    assert load_config("x.yaml").infer.seg_num == 8


def test_the_class_names_are_the_repositorys_from_any_folder(tmp_path):
    assert load_config("", {"INFER.weights": "pptsm"}).infer.kinetics_labels == "./data/dataset/kinetics_labels.json"
    (tmp_path / "data").unlink()
    named = load_config("", {"INFER.weights": "pptsm"}).infer
    assert named.kinetics_labels == str(ROOT / "data/dataset/kinetics_labels.json")
    assert load_config("", {"INFER.weights": "tsm-ucf101"}).infer.kinetics_labels == ""


def test_a_name_that_is_not_read_contradicts_nothing():
    """TRAIN.pretrain does not count for a script that reads the trained network."""
    Path("x.yaml").write_text("MODEL:\n    name: TSM\nTRAIN:\n    pretrain: pptsm\nTEST:\n    weights: a.pdparams\n")
    model = load_config("x.yaml", {}, ["MODEL.num_layers=101"], section="TEST").model
    assert (model.num_layers, model.backbone) == (101, "resnet_vd")
    with pytest.raises(InputError) as error:
        load_config("x.yaml", {}, ["MODEL.num_layers=101"], section="TRAIN")
    says(error.value, "--set MODEL.num_layers=101 ", "x.yaml:4: ", "TRAIN.pretrain pptsm", "remove one of them")


def test_more_segments_may_be_trained_than_the_weights_had():
    assert load_config("", {"TRAIN.pretrain": "tsm"}, ["MODEL.seg_num=4", "MODEL.num_classes=7"]).model.seg_num == 4


def test_the_users_own_class_names_are_shown():
    flags = {"INFER.weights": "tsm-ucf101"}
    assert load_config("", flags, ["INFER.kinetics_labels=mine.json"]).infer.kinetics_labels == "mine.json"


@pytest.mark.parametrize("value, pieces", [
    ("resnet50", ("--weights=resnet50: ", "ImageNet's weights", "--pretrain")),
    ("pptsm", ("pptsm: ", "published weights", "pptsm.pdparams", " ./pptsm ")),
])  # fmt: skip
def test_a_name_that_cannot_be_meant(value, pieces):
    Path("pptsm.pdparams").touch()
    with pytest.raises(InputError) as error:
        load_config("", {"INFER.weights": value})
    says(error.value, *pieces)
    assert find_weights("./pptsm").name == "pptsm.pdparams"


def test_a_name_that_is_nearly_known():
    with pytest.raises(InputError) as error:
        find_weights("pptsm-r10")
    says(error.value, "pptsm-r10: ", "did you mean pptsm-r101", "bash run.sh weights")


def test_run_sh_lists_names_and_what_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".paddle/weights/ppTSM_k400_uniform_distill.pdparams"
    file.parent.mkdir(parents=True)
    file.touch()
    heading, first, second, *rest = lines()
    assert heading.split() == ["name", "data", "frames", "top-1", "licence", "downloaded"]
    assert re.split("  +", first) == [
        "pptsm, pptsm-r50-uniform-distilled", "Kinetics-400", "8 x 1", "75.11", "Apache-2.0", str(file)
    ]  # fmt: skip
    assert second.endswith("Apache-2.0") and len(rest) == len(published_weights()) - 2 + 3


# ------------------------------------------------------------------------------------------------ downloads


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Start a server with a file of weights, use a home folder of the test's own, and make networks narrow."""
    narrow_here(monkeypatch.setattr)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving({"a/w.pth": GOOD, "b/w.pth": GOOD + b"\0"}) as server:
        write_table(tmp_path / "table.yaml", server, tsn={"file": "a/w.pth", "sha256": SHA256[:8]})
        monkeypatch.setattr(published, "TABLE", tmp_path / "table.yaml")
        yield server


GOOD = torch_zip({"fc.weight": np.zeros((3, 2048), "f4"), "fc.bias": np.ones(3, "f4")})
SHA256 = hashlib.sha256(GOOD).hexdigest()


@pytest.mark.parametrize("section", ["", "TRAIN:\n    pretrain: resnet18\n"])
def test_training_starts_from_a_name(server, section, tmp_path, capsys):
    """The name is in the flag or in the file."""
    server.files["w.pth"] = torch_zip(renamed(random_state(18, 1000, narrow=True), "torch", 18))
    row = {"file": "w.pth", "sha256": hashlib.sha256(server.files["w.pth"]).hexdigest()[:8]}
    write_table(published.TABLE, server, resnet18=row)
    Path("x.yaml").write_text(f"MODEL:\n    num_classes: 3\n{section}INFER:\n    kinetics_labels: ''\n")
    flags = parse_flags("train", ["--config=x.yaml", *([] if section else ["--pretrain=resnet18"])])
    config = load_config(flags.config, flags.section_overrides, flags.sets, "TRAIN")
    model = build_model(config.model)
    find_start(flags, config, 10, {}).load(model)
    file = tmp_path / ".paddle/weights/w.pth"
    assert f"{file}: 100 parameters loaded (torchvision names); left out: fc.bias, fc.weight" in capsys.readouterr().out
    assert model.num_layers == 18 and model.fc.weight.shape == [64, 3]


@pytest.mark.parametrize("frozen, random", [(0, ["--pretrain=none"]), (5, [])])
def test_without_a_network_training_names_the_file_its_place_and_what_else_to_do(server, frozen, random, tmp_path):
    server.status = 503
    Path("x.yaml").write_text(
        "MODEL:\n    name: TSM\n    backbone: resnet_vd\n    seg_num: 8\n"
        f"TRAIN:\n    pretrain: pptsm\n    freeze_stages: {frozen}\n"
    )
    flags = parse_flags("train", ["--config=x.yaml"])
    name = "ppTSM_k400_uniform_distill.pdparams"
    url, file = f"{server.url}PaddleVideo-release2.1/PPTSM/{name}", tmp_path / ".paddle/weights" / name
    with pytest.raises(InputError) as error:
        find_start(flags, load_config("x.yaml", section="TRAIN"), 10, {})
    says(error.value, f"{file} ", "503", f"fetch {url}", f"at {file}", "--pretrain=PATH", *random)
    assert random or "--pretrain=none" not in str(error.value)


@pytest.mark.parametrize("name, model, classes", [
    ("pptsm", {"name": "TSM", "backbone": "resnet_vd", "num_layers": 18, "seg_num": 8}, 400),
    ("pptsmv2-8-distilled", {"name": "PPTSMv2", "seg_num": 8}, 400),
])  # fmt: skip
@pytest.mark.parametrize("frozen", [0, 5])
def test_own_classes_take_all_of_a_name_but_its_classifier(server, name, model, classes, frozen, capsys):
    if name == "pptsm":
        state = renamed(random_state(18, classes, vd=True, narrow=True), "paddlevideo_vd", 18, "backbone.", vd=True)
    else:
        state = random_pptsm(classes, narrow=True)
    write_pickle(Path("weights"), state)
    server.files["w.pdparams"] = Path("weights").read_bytes()
    write_table(published.TABLE, server, **{name: {"file": "w.pdparams", "model": model}})
    sets = "MODEL.num_classes=3", f"TRAIN.freeze_stages={frozen}", "INFER.kinetics_labels="
    flags = parse_flags("train", [f"--pretrain={name}", *(f"--set={key}" for key in sets)])
    config = load_config("", flags.section_overrides, flags.sets, "TRAIN")
    network = build_model(config.model)
    fresh = network.fc.weight.numpy()
    find_start(flags, config, 10, {}).load(network)
    assert re.search(
        r"parameters loaded \(PaddleVideo names\); left out: \S*fc\.bias, \S*fc\.weight", capsys.readouterr().out
    )
    assert np.array_equal(network.fc.weight.numpy(), fresh) and fresh.shape[1] == 3


def test_addresses_that_end_alike_have_folders_of_their_own(server, capsys):
    paths = [find_weights(f"{server.url}{name}/w.pth") for name in "aba"]
    assert [path.read_bytes() for path in paths] == [GOOD, GOOD + b"\0", GOOD] and paths[0] == paths[2]
    assert [path for path, _ in server.requests] == ["/a/w.pth", "/b/w.pth"]
    assert find_weights("tsn") == paths[0]  # the name has the same address
    assert is_here("tsn") and not is_here(server.url + "c")
    assert Path(f"{paths[1]}.sha256").read_text() == hashlib.sha256(GOOD + b"\0").hexdigest() + "  w.pth\n"


def test_a_file_that_has_changed_is_refused(server):
    path = find_weights("tsn")
    path.write_bytes(GOOD + b"\0")
    with pytest.raises(InputError) as error:
        find_weights("tsn")
    digest = hashlib.sha256(GOOD + b"\0").hexdigest()
    says(error.value, f"{path}: ", digest[:8], SHA256[:8], "delete", "w.pth.sha256")
    other = find_weights(server.url + "b/w.pth")  # its digest is known only from the download
    other.write_bytes(GOOD)
    with pytest.raises(InputError) as error:
        find_weights(server.url + "b/w.pth")
    says(error.value, f"{other}: ", SHA256[:8], f"not with {digest[:8]}", "delete")


BODIES = [
    (b"<!DOCTYPE html><title>login</title>", ["another kind of file"]),
    (b'{"error": "no such key"}', ["another kind of file"]),
    (b"", ["another kind of file"]),
    (GOOD[:-1], ["SHA-256", hashlib.sha256(GOOD[:-1]).hexdigest()[:8], f"not with {SHA256[:8]}"]),
]


@pytest.mark.parametrize("body, pieces", BODIES)
def test_what_was_not_asked_for_is_not_kept(server, body, pieces):
    server.files["a/w.pth"] = body
    with pytest.raises(InputError) as error:
        find_weights("tsn")
    file, address = place_of(f"{server.url}a/w.pth"), f"{server.url}a/w.pth"
    says(error.value, f"{file} ", "cannot be downloaded", *pieces, f"fetch {address}", f"at {file}")
    left = {path.name for path in place_of(f"{server.url}a/w.pth").parent.iterdir()}
    assert left <= {"w.pth.lock", "w.pth.part.version"}


@pytest.mark.parametrize("chunked", [False, True])
def test_more_than_any_weights_have_is_not_taken(server, chunked, monkeypatch):
    server.chunked = chunked
    monkeypatch.setattr(paths, "MAX_BYTES", len(GOOD) - 1)
    with pytest.raises(InputError) as error:
        find_weights("tsn")
    says(error.value, f"{place_of(f'{server.url}a/w.pth')} ", "larger than 0 GB", "fetch ")
    assert not list(place_of(f"{server.url}a/w.pth").parent.glob("*.part"))


@pytest.mark.parametrize("location", ["http://example.org/w.pth", "ftp://127.0.0.1/w.pth", "//example.org/w"])
def test_a_server_leads_to_no_other_protocol(server, location):
    server.location = location
    with pytest.raises(InputError) as error:
        find_weights("tsn")
    shown = f"http:{location}" if location.startswith("//") else location
    says(error.value, f"{place_of(f'{server.url}a/w.pth')} ", f"leads on to {shown!r}", "not followed", "fetch ")


def test_a_server_leads_to_the_file(server):
    with serving({}) as first:
        first.location = f"{server.url}a/w.pth"
        assert find_weights(f"{first.url}x/latest.pth?download=true").read_bytes() == GOOD


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return a file with a self-signed certificate of 127.0.0.1 and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    words = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=test".split()
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", file, "-out", f"{file}.crt"]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def test_https_needs_a_valid_certificate(server, certificate, monkeypatch):
    with serving({"w.pth": GOOD}, certificate) as secure:
        address = secure.url.replace("http:", "https:") + "w.pth"
        with pytest.raises(InputError) as error:
            find_weights(address)
        says(error.value, f"{place_of(address)} ", "certificate verify failed", f"fetch {address}")
        assert not secure.requests
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        secure.location = f"{server.url}a/w.pth"
        with pytest.raises(InputError) as error:
            find_weights(address)
        says(error.value, f"{place_of(address)} ", f"leads on to {secure.location!r}", "not followed")
        secure.location, secure.break_after = "", [100]
        assert find_weights(address).read_bytes() == GOOD
        assert [wanted for _, wanted in secure.requests] == [None, None, "bytes=100-"]  # the first was led on
    assert not server.requests


@pytest.mark.parametrize(
    "address, pieces",
    [
        ("http://example.org/w.pth", ("http://example.org/w.pth: ", "only by https://")),
        ("https://user:secret@example.org/w.pth", ("the address of weights ", "must not hold credentials")),
        ("https://", ("expected an address ", "https://HOST/FILE")),
        ("https://[w", ("expected an address ", "https://HOST/FILE")),
        ("https://host:port/w", ("expected an address ", "https://HOST/FILE")),
    ],
)
def test_addresses_that_are_not_read(address, pieces):
    for find in (find_weights, is_here):
        with pytest.raises(InputError) as error:
            find(address)
        says(error.value, *pieces)
        assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "path, name",
    [
        ("a/..", "weights"),
        ("", "weights"),
        ("%2e%2e", "weights"),
        ("x%2Fy.pth", "y.pth"),
        ("a%00\u4e2d b.pth", "a_\u4e2d_b.pth"),
        ("n" * 300 + ".pth", "n" * 146 + ".pth"),
    ],
)
def test_an_address_cannot_leave_its_folder(path, name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    place = place_of(f"https://example.org/{path}")
    assert place.name == name and place.parent.parent == tmp_path / ".paddle/weights"
