"""The scripts with the list, its videos, the weights and the results in object storage."""

import json
import os
from pathlib import Path

import pytest

from conftest import NUM_CLASSES, run_narrow, run_script, says
from utils.storage.files import written_to
from weight_formats import random_state, write_pickle

MISSING = "s3://none-such/x"


@pytest.fixture(scope="module")
def narrow_weights(tmp_path_factory) -> Path:
    """Write random weights for the networks of narrow.py."""
    path = tmp_path_factory.mktemp("weights") / "narrow.pdparams"
    write_pickle(path, random_state(18, NUM_CLASSES, narrow=True))
    return path


@pytest.fixture(scope="module")
def inputs(store, workspace, narrow_weights) -> dict[str, str]:
    """Return the paths of the list of held-out videos (its last two cannot be read) and of weights."""
    videos = [store.put(f"my clips/{n}.mp4", path) for n, (path, _) in enumerate(workspace.held_out)]
    lines = [f"{video} {label}\n" for video, (_, label) in zip(videos, workspace.held_out)]
    lines += ["s3://clips/my clips/none.mp4 1\n", "s3://none-such/a b.mp4 2\n"]
    return {
        "list": store.put("test.list", "".join(lines).encode()),
        "video": videos[0],
        "weights": store.put("random.pdparams", narrow_weights),
    }


@pytest.fixture(scope="module")
def exported(store, workspace, inputs) -> str:
    """Export remote weights to a remote folder. All tests that compute with it share a graph."""
    where = f"--weights={inputs['weights']}", "--save_dir=s3://clips/exported"
    ended = run_narrow("export", workspace.config, *where)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"weights: {inputs['weights']} (sha256 " in ended.stdout
    assert "exported to s3://clips/exported: " in ended.stdout
    assert store.keys("exported/") == ["config.yaml", "model.json", "model.pdiparams", "weights.pdparams"]
    return "s3://clips/exported"


def test_predict_writes_what_it_writes_with_local_files(store, workspace, inputs, exported, tmp_path):
    (tmp_path / "temporary").mkdir()
    flags = [workspace.config, f"--filelist={inputs['list']}", f"--weights={exported}/", "--save_dir=s3://clips/out/"]
    ended = run_narrow("predict", *flags, TMPDIR=str(tmp_path / "temporary"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "weights: s3://clips/exported/weights.pdparams (sha256 " in ended.stdout
    assert "predicted 5 of 7 videos, 2 unreadable; written to s3://clips/out/\n" in ended.stdout
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in ended.stdout
    assert store.keys("out/") == [
        "config.yaml",
        "predictions.csv",
        "predictions.json",
        "predictions.jsonl",
        "report.html",
    ]
    results = json.loads(store.get("out/predictions.json"))
    assert [result.get("error") for result in results] == [None] * 5 + ["no such file", "no such bucket"]
    assert os.listdir(tmp_path / "temporary") == []
    assert not written_to("s3://clips/out/").exists()

    (tmp_path / "exported").mkdir()
    for name in store.keys("exported/"):
        (tmp_path / "exported" / name).write_bytes(store.get(f"exported/{name}"))
    flags = [workspace.config, f"--weights={tmp_path / 'exported'}", f"--save_dir={tmp_path / 'out'}"]
    assert run_narrow("predict", *flags).returncode == 0
    expected = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [r["predictions"] for r in results[:5]] == [r["predictions"] for r in expected]


def test_a_video_is_fetched_twice_whatever_is_made_of_it(store, workspace, narrow_weights, tmp_path, caplog):
    """Once for its classes; once for windows, labelled video, heat maps and page together."""
    videos = [store.put(f"visited/{n}.mp4", path) for n, (path, _) in enumerate(workspace.held_out[:2])]
    (tmp_path / "clips.list").write_text("".join(f"{video}\n" for video in videos))
    given = [f"--filelist={tmp_path}/clips.list", f"--save_dir={tmp_path}/out"]
    made = ["--window=0.5", "--save_video=True", "--explain=True"]
    with caplog.at_level("INFO", logger="werkzeug"):
        ended = run_narrow("predict", workspace.config, f"--weights={narrow_weights}", *given, *made)
    assert (ended.returncode, ended.stderr) == (0, "")
    names = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert names >= {".vtt", ".mp4", ".html"} and len(list((tmp_path / "out/explain").iterdir())) == 3 * len(videos)
    asked = [line for line in caplog.messages if "GET /clips/visited/" in line]
    assert [sum(f"/{n}.mp4 " in line for line in asked) for n in range(2)] == [2, 2]


def test_eval(store, workspace, inputs, exported):
    flags = [f"--weights={exported}", "--save_dir=s3://clips/evaluated", "--set", "TEST.seg_num=3"]
    ended = run_narrow("eval", workspace.config, *flags, "--set", f"TEST.filelist={inputs['list']}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "unreadable, not counted: s3://clips/my clips/none.mp4: no such file\n" in ended.stdout
    assert "; written to s3://clips/evaluated\n" in ended.stdout
    assert store.keys("evaluated/") == [
        "config.yaml", "confusion.csv", "evaluation.jsonl", "metrics.json", "predictions.csv", "probabilities.npz",
        "report.html",
    ]  # fmt: skip
    assert json.loads(store.get("evaluated/metrics.json"))["videos"] == 5


@pytest.mark.parametrize(
    "script, flags, pieces",
    [
        ("predict", [f"--save_dir={MISSING}"], [f"error: --save_dir={MISSING}: ", "no such bucket"]),
        ("predict", [f"--filelist={MISSING}"], [f"error: {MISSING}: ", "the file list", "no such bucket"]),
        ("predict", [f"--video_path={MISSING}"], [f"error: {MISSING}: ", "no such bucket"]),
        ("predict", ["--weights=s3://me:word@b/x"],
         ["error: --weights: ", "no credentials in a path", "in the environment"]),
        ("predict", ["--set", "INFER.weights=s3://b/x?key=word"],
         ["error: --set INFER.weights: ", "region, scheme, endpoint_override", "not key"]),
        ("train", ["--save_dir=s3://b/x"], ["error: --save_dir=s3://b/x: ", "a local folder"]),
        ("train", ["--resume=s3://b/x"], ["error: --resume=s3://b/x: ", "a local folder"]),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_before_work_begins(store, workspace, tmp_path, script, flags, pieces):
    folder = [] if "--save_dir" in flags[0] else [f"--save_dir={tmp_path}"]
    ended = run_script(script, workspace.config, *folder, *flags)
    assert ended.returncode == 2 and "word" not in ended.stdout + ended.stderr
    says(ended.stderr, *pieces)


def test_check(store, workspace, tmp_path):
    """Copies are removed after reading. A second check only fetches the videos that could not be read."""
    (tmp_path / "temporary").mkdir()
    video, _ = workspace.held_out[0]
    paths = [store.put(f"checked/{name}.mp4", video) for name in "ab"] + ["s3://clips/checked/none.mp4"]
    listed = store.put("train.list", "".join(f"{path} 1\n" for path in paths).encode())
    flags = [listed, "--out", str(tmp_path / "out"), workspace.config]
    for journal_lines in (6, 7):  # settings, three videos, two digests; the unreadable one again
        ended = run_script("data/check", *flags, TMPDIR=str(tmp_path / "temporary"))
        assert ended.returncode == 1 and f"{listed}: 2 of 3 videos can be read" in ended.stdout
        rows = (tmp_path / "out/problems.csv").read_text().splitlines()[1:]
        assert rows == [
            f"{listed},2,{paths[1]},same bytes,as {listed}:1: {paths[0]}",
            f"{listed},3,{paths[2]},unreadable,no such file",
        ]
        assert len((tmp_path / "out/check.jsonl").read_text().splitlines()) == journal_lines
    assert (tmp_path / "out/train.readable.list").read_text() == f"{paths[0]} 1\n{paths[1]} 1\n"
    assert os.listdir(tmp_path / "temporary") == []
    ended = run_script("data/check", listed, workspace.config)
    assert ended.returncode == 2 and ended.stderr.startswith(f"error: {listed}: ") and "--out=DIR" in ended.stderr
