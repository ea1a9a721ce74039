"""--weights=a*3,b: the mean of two networks that see different frames; interrupted runs write the same bytes."""

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from conftest import (
    LABELS,
    ROOT,
    run_narrow,
    run_python,
    run_script,
    says,
    snapshot,
    start_python,
    wait_until,
    write_list,
)
from inference.api import Classifier
from inference.label_kinds import ONE
from reader.integrity import VideoError
from results.several import MeanRows
from utils.errors import InputError
from weight_formats import random_state, write_pickle

SEGMENTS = {"a": 2, "b": 3}


@pytest.fixture(scope="module")
def networks(workspace, tmp_path_factory) -> dict[str, str]:
    """Return --weights, and --filelist with a missing video. Each network has a manifest and its number of segments."""
    folder = tmp_path_factory.mktemp("networks")
    for seed, (name, segments) in enumerate(SEGMENTS.items()):
        write_pickle(folder / f"{name}.pdparams", random_state(18, 4, seed, narrow=True))
        tree = yaml.safe_load((workspace.folder / "tiny.yaml").read_text())
        for section in ("TEST", "INFER"):
            tree[section] |= {"seg_num": segments, "precision": "float32"}
        manifest = {"format": 1, "model": {"num_classes": 4, "num_layers": 18}, "train": {}, "classes": LABELS}
        (folder / f"{name}.json").write_text(json.dumps(manifest | {"config": yaml.safe_dump(tree)}))
    missing = folder / "missing.mp4", 0
    listed = write_list(folder / "videos.list", [*workspace.videos[:3], missing, *workspace.videos[3:]])
    return {"weights": f"--weights={folder}/a*3,{folder}/b", "list": f"--filelist={listed}", "folder": folder}


@pytest.fixture(scope="module")
def evaluated(networks, tmp_path_factory):
    """Run eval.py, which also caches the graphs of these narrow networks for the other tests."""
    folder = tmp_path_factory.mktemp("evaluated") / "out"
    return run_narrow("eval", networks["weights"], networks["list"], f"--save_dir={folder}"), folder


@pytest.fixture(scope="module")
def predicted(evaluated, networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predicted")
    return run_script("predict", networks["weights"], networks["list"], f"--save_dir={folder}", "--nproc=2"), folder


def test_eval_is_each_network_and_their_mean(evaluated, networks, tmp_path):
    ended, folder = evaluated
    assert ended.returncode == 0, ended.stderr
    kept = [np.load(folder / name / "probabilities.npz")["probabilities"] for name in ("network1", "network2", ".")]
    assert np.allclose(0.75 * kept[0] + 0.25 * kept[1], kept[2], atol=1e-7) and kept[2].shape == (10, 4)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["videos"], len(metrics["unreadable"])) == (10, 1)
    assert "10 videos that all could read; unreadable: 1; not on the list of all: 0\n" in ended.stdout
    assert "3 * (2 segments, " in metrics["protocol"] and " + 1 * (3 segments, " in metrics["protocol"]
    alone = [networks["list"], f"--weights={networks['folder']}/a", f"--save_dir={tmp_path}", "--report=False"]
    assert run_script("eval", *alone).returncode == 0
    for name in ("predictions.csv", "probabilities.npz", "metrics.json"):
        assert (tmp_path / name).read_bytes() == (folder / "network1" / name).read_bytes()


def test_ended_in_either_pass_the_same_command_goes_on_there(evaluated, networks, tmp_path):
    folder = evaluated[1].rename(evaluated[1].parent / "undisturbed")
    flags = [networks["weights"], networks["list"], f"--save_dir={evaluated[1]}"]
    resting = {**os.environ, "TSN_TEST_SCRIPT": "eval", "TSN_TEST_REST": '"position" 1'}

    def lines(name: str) -> int:
        path = evaluated[1] / name / "evaluation.partial.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    for name, sign, code in (("network1", signal.SIGINT, 130), ("network2", signal.SIGKILL, -signal.SIGKILL)):
        command = [str(ROOT / "tests/resting.py"), *flags]
        process = start_python(command, {**resting, "TSN_TEST_REST_IN": name}, tmp_path / "out")
        wait_until(lambda name=name: lines(name) > 1, 120)
        process.send_signal(sign)
        assert process.wait(60) == code and not (evaluated[1] / "metrics.json").exists()
    ended = run_script("eval", *flags)
    assert ended.returncode == 0, ended.stderr
    assert f"{evaluated[1]}/network1/evaluation.partial.jsonl: 8 of 11 videos are done already: " in ended.stdout
    resumed, undisturbed = snapshot(evaluated[1]), snapshot(folder)
    assert [name for name in resumed | undisturbed if resumed.get(name) != undisturbed.get(name)] == []


def test_predict_is_the_mean_too_of_a_list_and_of_one_video(predicted, networks, workspace, tmp_path):
    ended, out = predicted
    assert ended.returncode == 0, ended.stderr
    assert f"predicted 10 of 11 videos, 1 unreadable; written to {out}\n" in ended.stdout
    kept = [np.load(out / name / "probabilities.npy") for name in ("network1", "network2")]
    mean = 0.75 * kept[0] + 0.25 * kept[1]
    results = json.loads((out / "predictions.json").read_text())
    for row, expected in zip(results, mean, strict=True):
        found = [(p["class_id"], p["probability"]) for p in row.get("predictions", ())]
        assert ("error" in row) == np.isnan(expected).any()
        assert found == [(k, pytest.approx(expected[k], abs=1e-6)) for k in np.argsort(-expected)[: len(found)]]
    [error] = [row["error"] for row in results if "error" in row]
    assert error == f"no such file ({out}/network1)"
    video = f"--video_path={workspace.videos[0][0]}"
    ended = run_script("predict", networks["weights"], video, f"--save_dir={tmp_path / 'one'}", "--report=False")
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "one/predictions.json").read_text()) == results[:1]
    assert f"  {results[0]['predictions'][0]['probability']:.6f}  " in ended.stdout


def test_the_call_is_the_mean_in_any_thread(predicted, networks, workspace):
    weights = networks["weights"].partition("=")[2]
    videos = [str(path) for path, _ in workspace.videos[:4]]
    said = {row["video"]: row for row in json.loads((predicted[1] / "predictions.json").read_text())}
    with Classifier("", weights) as classify:
        assert repr(classify).startswith("Classifier(TSN+TSN, 4 classes, ") and repr(classify).count("float32 on") == 2
        with ThreadPoolExecutor(3) as pool:
            found = [*pool.map(classify, videos), *classify([*videos, "gone.mp4"])]
        assert found.pop() == {"video": "gone.mp4", "error": "no such file"}
        for row, video in zip(found, videos * 2, strict=True):
            expected = said[video]["predictions"]
            assert [p["class_id"] for p in row["predictions"]] == [p["class_id"] for p in expected]
            assert row["predictions"][0]["probability"] == pytest.approx(expected[0]["probability"], abs=1e-6)
        with open(videos[0], "rb") as file:  # it is read once for both networks
            assert classify(file) == {"video": None, "predictions": found[0]["predictions"]}
        with pytest.raises(VideoError, match="^the content: "):
            classify(b"text")


@pytest.mark.usefixtures("evaluated")
def test_the_call_refuses_networks_of_other_classes(networks, tmp_path):
    folder = with_other_classes(networks, tmp_path)
    with pytest.raises(InputError) as error:
        Classifier("", f"{folder}/a,{folder}/b")
    says(error.value, f"{folder}/b: ", "class 0 is 'waving'", f"'opening a door' in {folder}/a")
    with pytest.raises(InputError) as error:
        Classifier("", "a,")
    says(error.value, "weights=a,: ", "between the commas")


def test_a_video_that_one_network_cannot_read_has_no_mean():
    rows = [[{"position": i, "video": f"{i}.mp4", "file": [1], "predictions": []} for i in range(3)] for _ in range(2)]
    rows[1][1] = {"position": 1, "video": "1.mp4", "file": None, "error": "torn"}
    values = np.array([[0.5, 0.5], [1, 0], [0.25, 0.75]]), np.array([[1, 0], [np.nan, np.nan], [0, 1]])
    runs = [
        SimpleNamespace(
            folder=f"network{n}",
            journal=SimpleNamespace(rows=lambda own=own: own),
            features=SimpleNamespace(read=lambda first, last, kept=kept: kept[first:last]),
        )
        for n, own, kept in zip((1, 2), rows, values)
    ]
    found = MeanRows(runs, [1.0, 1.0], ONE, ONE.naming(["x", "y"], 1, 0.0, None))
    for _ in range(2):
        first, second, third = found
        assert second == {"position": 1, "video": "1.mp4", "file": None, "error": "torn (network2)"}
        assert [(row["predictions"][0]["label"], row["predictions"][0]["probability"]) for row in (first, third)] == [
            ("x", pytest.approx(0.75)), ("y", pytest.approx(0.875)),
        ]  # fmt: skip


REFUSED = [
    ("predict", "--features=True", "--weights names 2"),
    ("predict", "--explain=True", "--weights names 2"),
    ("predict", "--window=2", "--weights names 2"),
    ("predict", "--ray=local", "--weights names 2"),
    ("eval", "--save_dir=s3://bucket/x", "a folder on this machine"),
    ("export", "", "predict.py, eval.py and inference.api"),
    ("live", "", "predict.py, eval.py and inference.api"),
]


@pytest.mark.parametrize("script, flag, said", REFUSED)
def test_what_several_networks_cannot_do_is_one_line(networks, tmp_path, script, flag, said):
    command = [str(ROOT / f"{script}.py"), networks["weights"], *([flag] if flag else [])]
    ended = run_python(command, dict(os.environ), tmp_path, 120, kind="read")  # all end before they import paddle
    assert ended.returncode == 2 and not os.listdir(tmp_path)
    says(ended.stderr, f"error: {flag or networks['weights']}", said)


def with_other_classes(networks, tmp_path):
    """Return a folder with both networks; the second one has its classes in another order."""
    folder = tmp_path / "other"
    shutil.copytree(networks["folder"], folder)
    manifest = json.loads((folder / "b.json").read_text())
    manifest["classes"] = LABELS[::-1]
    (folder / "b.json").write_text(json.dumps(manifest))
    return folder


def test_networks_of_other_classes_are_refused_before_they_are_loaded(networks, tmp_path):
    folder = with_other_classes(networks, tmp_path)
    weights = f"--weights={folder}/a,{folder}/b"
    ended = run_script("eval", weights, networks["list"], f"--save_dir={tmp_path}/out")
    assert ended.returncode == 2 and not (tmp_path / "out").exists()
    says(ended.stderr, f"error: {folder}/b: ", "class 0 is 'waving'", f"'opening a door' in {folder}/a")
