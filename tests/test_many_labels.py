"""Videos of many labels through the scripts: training, evaluation, prediction, export; and settings that do not fit."""

import csv
import json
import math
import re
import shutil
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml

from conftest import ROOT, run_narrow, run_script, says
from inference.api import Classifier
from metrics.many import ManyScores
from results.probabilities import write_probabilities
from server_process import Server, form, post
from tools import combine, compare
from utils.config.loading import load_config
from utils.errors import InputError

NAMES = ["opening a door", "closing a door", "walking_past", "waving"]


@pytest.fixture(scope="module")
def many(workspace, tmp_path_factory):
    """Provide a folder with lists of many labels, their configuration, and the files of train.py in `run`."""
    folder = tmp_path_factory.mktemp("many")
    for name, videos in (("train", workspace.videos), ("test", workspace.held_out)):
        lines = [
            f"{path} {label},{(label + 1) % 4}" if i % 2 else f"{path} {label}"
            for i, (path, label) in enumerate(videos)
        ]
        (folder / f"{name}.list").write_text("\n".join(lines) + "\n")
    tree = yaml.safe_load((workspace.folder / "tiny.yaml").read_text())
    tree["MODEL"]["labels"] = "multi"
    for section, name in (("TRAIN", "train"), ("VALID", "test"), ("TEST", "test"), ("INFER", "test")):
        tree[section]["filelist"] = str(folder / f"{name}.list")
    tree["TEST"] |= {"seg_num": 3}
    (folder / "many.yaml").write_text(yaml.safe_dump(tree))
    flags = "--pretrain=none", "--fix_random_seed=True", "--set=TRAIN.mixup_alpha=0.2", f"--save_dir={folder / 'run'}"
    ended = run_narrow("train", f"--config={folder / 'many.yaml'}", *flags)
    assert ended.returncode == 0, ended.stderr
    (folder / "said").write_text(ended.stdout)
    return folder


def weights(many) -> list[str]:
    return [f"--config={many / 'many.yaml'}", f"--weights={many / 'run' / 'TSN_best.pdparams'}"]


def test_what_training_says_and_keeps(many):
    said, log = (many / "said").read_text(), (many / "run" / "train_log.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in log]
    valid = [line for line in lines if line["mode"] == "valid"]
    assert all({"loss", "mAP", "mAP_micro"} <= line.keys() and "top1_acc" not in line for line in valid)
    assert all({"loss", "f1"} <= line.keys() for line in lines if line["mode"] == "epoch")
    best = max(valid, key=lambda line: line["mAP"])
    assert f"best mAP {best['mAP']:.2f} in epoch {best['epoch']}: TSN_best.pdparams" in said
    # 5 videos with 7 labels of 4 classes
    assert f"mAP {best['mAP']:.2f} of 5 validation videos, the mean over 4 of 4 classes; a random order" in said
    manifest = json.loads((many / "run" / "TSN_best.json").read_text())
    assert manifest["model"]["labels"] == "multi" and len(manifest["thresholds"]) == 4
    html = (many / "run" / "report.html").read_text()
    assert f"Best mAP {best['mAP']:.2f}% after epoch {best['epoch']}" in html


@pytest.fixture(scope="module")
def evaluated(many) -> Path:
    """Provide the folder of an eval.py."""
    run_narrow("eval", *weights(many), f"--save_dir={many / 'eval'}").check_returncode()
    return many / "eval"


def test_evaluation(many, evaluated):
    metrics = json.loads((evaluated / "metrics.json").read_text())
    rows = [json.loads(line) for line in (evaluated / "evaluation.jsonl").read_text().splitlines()[1:]]
    sums = ManyScores(4)
    for row in rows:
        sums.add(row)
    manifest = json.loads((many / "run" / "TSN_best.json").read_text())
    # The validation has read the same list, with another engine.
    assert sums.thresholds() == pytest.approx(manifest["thresholds"], abs=1e-3)
    assert {name: metrics[name] for name in sums.means} == sums.means
    assert metrics["mAP"] == pytest.approx(manifest["progress"]["best_top1"], abs=0.01)
    classes = sums.classes(manifest["thresholds"])
    for found, told in zip(classes, metrics["per_class"], strict=True):
        assert (told["videos"], told["named"], told["threshold"]) == (found.videos, found.named, found.threshold)
        assert told["average_precision"] == found.average_precision and told["f1"] == found.scores["f1"]
    assert metrics["mean_f1"] == pytest.approx(np.mean([found.scores["f1"] for found in classes]))
    with open(evaluated / "predictions.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert sum(line["named"] == "1" for line in lines) == sum(found.named for found in classes)
    assert sum(line["true"] == "1" for line in lines) == 7 and not (evaluated / "confusion.csv").exists()
    html = (evaluated / "report.html").read_text()
    assert f"mAP {metrics['mAP']:.2f}% of 5 videos" in html and "onfusion" not in html.split("<script")[0]


def test_prediction_export_and_the_call(many, tmp_path):
    ended = run_narrow("predict", *weights(many), f"--save_dir={tmp_path / 'a'}")
    assert ended.returncode == 0, ended.stderr
    rows = json.loads((tmp_path / "a" / "predictions.json").read_text())
    chosen = json.loads((many / "run" / "TSN_best.json").read_text())["thresholds"]
    with Classifier(many / "many.yaml", many / "run" / "TSN_best.pdparams") as classify:
        assert classify.network.thresholds == chosen
        for row in rows:
            logits = classify._logits(row["video"])[0]
            above = {k for k in range(4) if 1 / (1 + math.exp(-logits[k])) >= chosen[k]}
            assert {found["class_id"] for found in row["predictions"]} == (above or {-1})
            assert classify(row["video"])["predictions"] == row["predictions"]
    assert "report.html" in [path.name for path in (tmp_path / "a").iterdir()]
    out = tmp_path / "exported"
    run_narrow("export", *weights(many), f"--save_dir={out}").check_returncode()
    ended = run_narrow("predict", weights(many)[0], f"--weights={out}", f"--save_dir={tmp_path / 'b'}")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "b" / "predictions.csv").read_text() == (tmp_path / "a" / "predictions.csv").read_text()


def test_several_networks_compared_and_combined(many, tmp_path, narrow_networks):
    best = many / "run" / "TSN_best"
    for suffix in (".json", ".pdparams"):
        shutil.copy(f"{best}{suffix}", tmp_path / f"other{suffix}")
    manifest = json.loads((tmp_path / "other.json").read_text())
    chosen = manifest["thresholds"]
    manifest["thresholds"] = [0.25] * 4
    (tmp_path / "other.json").write_text(json.dumps(manifest))
    thresholds = [(3 * own + 0.25) / 4 for own in chosen]
    flags = f"--config={many / 'many.yaml'}", f"--weights={best}*3,{tmp_path / 'other'}", "--set", "TEST.seg_num=2"
    ended = run_narrow("eval", *flags, f"--save_dir={tmp_path / 'both'}")
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "both" / "metrics.json").read_text())
    kept = [np.load(tmp_path / "both" / name / "probabilities.npz") for name in ("network1", "network2", ".")]
    mean = 0.75 * kept[0]["probabilities"] + 0.25 * kept[1]["probabilities"]
    assert np.allclose(kept[2]["probabilities"], mean, atol=1e-6) and kept[2]["labels"].sum() == 7
    assert kept[2]["thresholds"] == pytest.approx(thresholds, abs=1e-5)
    assert [one["threshold"] for one in metrics["per_class"]] == pytest.approx(thresholds, abs=1e-5)
    assert metrics["protocol"].startswith("mean of the probabilities and of the thresholds of 2 networks: 3 * (")
    assert f"  mAP {metrics['mAP']:6.2f}%, 95% interval " in ended.stdout
    assert f"mAP {metrics['mAP']:.2f}%" in (tmp_path / "both" / "report.html").read_text()

    parts = [str(tmp_path / "both" / name) for name in ("network1", "network2")]
    ended = run_script("tools/combine", f"{parts[0]}*3", parts[1], "--out", tmp_path / "again")
    assert ended.returncode == 0, ended.stderr
    for name in ("metrics.json", "predictions.csv", "probabilities.npz"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "both" / name).read_bytes()
    ended = run_script("tools/compare", *parts, "--out", tmp_path / "compared")
    assert ended.returncode == 0, ended.stderr
    figure = f"mAP {metrics['mAP']:.2f}%"
    assert f"{figure} and {figure[4:]}, difference +0.00\n  1000 draws of the videos: " in ended.stdout
    with open(tmp_path / "compared" / "comparison.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5 and lines[1]["labels"].count(";") == 1
    assert "2 runs over 5 videos" in (tmp_path / "compared" / "report.html").read_text()

    ended = run_narrow("predict", *flags[:2], f"--save_dir={tmp_path / 'said'}")
    assert ended.returncode == 0, ended.stderr
    rows = json.loads((tmp_path / "said" / "predictions.json").read_text())
    with Classifier(many / "many.yaml", flags[1].partition("=")[2]) as classify:
        assert classify.thresholds == pytest.approx(thresholds, abs=1e-5)
        answers = [found["predictions"] for found in classify([row["video"] for row in rows])]
    with Classifier("", many / "run") as classify:  # the folder of a run is enough
        assert classify.config.model.labels == "multi" and classify.names == NAMES
    for found, row in zip(answers, rows, strict=True):
        assert [p["class_id"] for p in found] == [p["class_id"] for p in row["predictions"]]
        assert all(p["class_id"] == -1 or p["probability"] >= thresholds[p["class_id"]] - 1e-5 for p in found)


class NarrowServer(Server):
    def __init__(self, folder: Path, *flags: str):
        super().__init__(folder, *flags)
        self._command[0] = "tests/narrow.py"


def test_the_server_and_the_stream_name_all_classes_above_their_thresholds(many, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("TSN_TEST_SCRIPT", "serve")
    best = many / "run" / "TSN_best"
    for suffix in (".json", ".pdparams"):
        shutil.copy(f"{best}{suffix}", tmp_path / f"all{suffix}")
    manifest = json.loads((tmp_path / "all.json").read_text())
    (tmp_path / "all.json").write_text(json.dumps(manifest | {"thresholds": [0.0] * 4}))
    flags = f"--config={many / 'many.yaml'}", f"--weights={tmp_path / 'all'}"
    video = workspace.held_out[0][0]
    (tmp_path / "server").mkdir()
    with NarrowServer(tmp_path / "server", *flags, "--set", "INFER.topk=1") as server:
        body = server.send(post(form(video.read_bytes()))).partition(b"\r\n\r\n")[2]
        found = json.loads(body)["predictions"]
        assert sorted(one["class_id"] for one in found) == [0, 1, 2, 3]
    live = f"--source={video}", "--window=0.4", f"--save_dir={tmp_path / 'live'}"
    ended = run_narrow("live", *flags, *live)
    assert ended.returncode == 0, ended.stderr
    first = json.loads((tmp_path / "live" / "live.jsonl").read_text().splitlines()[0])
    said = next(line for line in ended.stdout.splitlines() if line.startswith("[LIVE"))
    assert all(f"{one['label']} " in said for one in first["predictions"]) and len(first["predictions"]) == 4


def test_one_label_and_many_have_no_mean(many, evaluated, workspace, tmp_path, monkeypatch):
    best, one = many / "run" / "TSN_best", tmp_path / "single"
    shutil.copy(f"{best}.pdparams", f"{one}.pdparams")
    manifest = json.loads(best.with_suffix(".json").read_text())
    manifest["model"]["labels"] = "single"
    manifest["config"] = re.sub(r"(labels:) *\"?multi\"?", r"\1 single", manifest["config"])
    one.with_suffix(".json").write_text(json.dumps(manifest))
    listed = f"--filelist={workspace.folder / 'test.list'}"
    ended = run_narrow("eval", f"--weights={best},{one}", listed, f"--save_dir={tmp_path / 'x'}")
    assert ended.returncode == 2
    says(ended.stderr, f"error: {one}: ", "MODEL.labels is single", f"multi in {best}")

    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "metrics.json").write_text('{"top1_acc": 1, "per_class": []}')
    write_probabilities(tmp_path / "one", ["a.mp4"], [0], NAMES, [np.ones((1, 4)) / 4])
    folders = [str(evaluated), str(tmp_path / "one")]
    said = f"^{folders[1]}: its videos have one label, "
    for pair, program in product((folders, folders[::-1]), (compare, combine)):
        monkeypatch.setattr(sys, "argv", ["program.py", *pair, f"--out={tmp_path / 'out'}"])
        with pytest.raises(InputError, match=said):
            program.main()


def test_weights_of_many_labels_are_not_those_of_single_ones(many, workspace, tmp_path):
    flags = f"--weights={many / 'run' / 'TSN_best.pdparams'}", f"--save_dir={tmp_path / 'x'}"
    ended = run_narrow("eval", workspace.config, *flags)
    assert ended.returncode == 2
    says(ended.stderr, f"error: {flags[0][10:]}: ", "TSN_best.json", "MODEL.labels multi ", "has single")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("TRAIN.balance_classes", True, "several classes"),
        ("TRAIN.label_smoothing", 0.1, "one is true"),
        ("VALID.format", "pkl", "one label"),
        ("TEST.precision", "int8", "likeliest class"),
        ("INFER.average", "probabilities", "logits"),
    ],
)
def test_what_does_not_go_with_many_labels(key, value, why):
    with pytest.raises(InputError) as error:
        load_config(str(ROOT / "configs" / "tsn.yaml"), {"MODEL.labels": "multi", key: str(value)})
    says(error.value, "--", f"{key} {value} ", "MODEL.labels multi", why)
    with pytest.raises(InputError) as error:
        load_config(str(ROOT / "configs" / "tsn.yaml"), {"MODEL.labels": "multi", "MODEL.num_classes": "20001"})
    says(error.value, "--", "MODEL.labels multi", "at most 20000 classes")
