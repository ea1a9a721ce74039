"""The CPU's engine gives the eager network's probabilities, and the same bits however its work is divided."""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import paddle
import pytest

import stream_work
from conftest import NUM_CLASSES, Workspace, says, wait_until
from inference import graph
from inference.cache import read_kept
from inference.engine import Engine, settings
from inference.finding import find_network
from inference.network import Network, load_network
from models import section_model
from models.graphs import trace
from models.weights.fitting import load_model
from narrow import narrow_here
from networks import eager
from pptsm_reference import random_pptsm
from utils.config.loading import Config, load_config
from utils.errors import InputError, RunError
from utils.processor import has_bfloat16
from utils.storage.files import CACHE_VARIABLE
from weight_formats import random_state, write_pickle

NETWORKS = [("TSN", "resnet", 1), ("TSN", "resnet_vd", 1), ("TSM", "resnet", 1), ("TSM", "resnet_vd", 1)]
NETWORKS += [("TSN", "resnet", 2), ("PPTSMv2", "resnet", 1)]  # the last number: seglen
SEGMENTS = (1, 3, 11)


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def difference(ours: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(softmax(ours) - softmax(exact)).max())


class Case:
    """A network's configuration, random weights, random clips, and Paddle's own logits for them."""

    def __init__(self, config: Config, folder: Path, name: str, backbone: str, seglen: int):
        model = replace(config.model, name=name, backbone=backbone)
        self.config = replace(config, model=model)
        self.weights = folder / f"{name}_{backbone}_{seglen}.pdparams"
        state = random_state(18, NUM_CLASSES, seglen=seglen, vd=backbone == "resnet_vd", narrow=True)
        write_pickle(self.weights, random_pptsm(NUM_CLASSES, narrow=True) if name == "PPTSMv2" else state)
        self.section = replace(config.test, precision="float32", weights=str(self.weights), seglen=seglen)
        self.model = load_model(section_model(model, self.section), self.weights)
        random = np.random.default_rng(0)
        shapes = {t: (5, t, 32, 32, 3 * seglen) for t in SEGMENTS}
        self.frames = {t: random.integers(0, 256, shape, dtype=np.uint8) for t, shape in shapes.items()}
        self.exact = {t: eager(self.model, frames) for t, frames in self.frames.items()}

    def open(self, num_videos: int = 1, **section: object) -> Network:
        return load_network(self.config, replace(self.section, **section), "cpu", num_videos)


@pytest.fixture(scope="module", autouse=True)
def narrow_networks() -> Iterator[None]:
    """Give ResNets an eighth of their channels: nothing here depends on the number."""
    with pytest.MonkeyPatch.context() as patch:
        narrow_here(patch.setattr)
        yield


@pytest.fixture(scope="module")
def case_of(narrow_networks, workspace: Workspace, tmp_path_factory) -> Callable[..., Case]:
    config, folder = load_config(workspace.folder / "tiny.yaml"), tmp_path_factory.mktemp("engine")
    return cache(lambda *which: Case(config, folder, *which))


@pytest.fixture
def tsn(case_of) -> Case:
    return case_of(*NETWORKS[0])


@pytest.mark.parametrize("which", NETWORKS)
def test_float32_is_exact_for_any_number_of_segments(case_of, which):
    case = case_of(*which)
    assert softmax(case.exact[3]).std(axis=0).max() > 0.01  # the answers to the clips differ
    engine = case.open()
    assert max(difference(engine(case.frames[t]), case.exact[t]) for t in SEGMENTS) < 1e-5
    assert engine.description.startswith("float32 on cpu (OpenVINO), weights ")
    if which[0] in ("TSM", "PPTSMv2"):
        assert difference(engine(case.frames[3][:, ::-1]), case.exact[3]) > 1e-3, "the frames do not see each other"


def test_features_are_those_of_each_segment(tsn):
    with paddle.no_grad():
        exact = tsn.model.features(paddle.to_tensor(tsn.frames[3])).numpy()
    found = tsn.open().start(tsn.frames[3])().features
    assert found.shape == (5, 3, 64) and np.abs(found - exact).max() < 1e-5 * exact.max()


@pytest.mark.parametrize("which", [NETWORKS[0], NETWORKS[3], NETWORKS[5]])
def test_answers_are_the_same_to_the_bit_however_the_work_is_cut(case_of, monkeypatch, which):
    """Vary clips per call, streams and cores; call one after the other, at the same time, and again for a clip."""
    case = case_of(*which)
    frames, first = case.frames[3], case.open()(case.frames[3])
    for cores, num_videos in [(1, 1), (1, 1000), (2, 1), (2, 1000), (3, 1000)]:
        monkeypatch.setattr(graph, "available_cores", lambda cores=cores: cores)
        engine = case.open(num_videos)
        assert engine.ahead == (1 if num_videos == 1 else cores)
        waiting = [engine.start(clip[None]) for clip in [*frames, *frames]]
        np.testing.assert_array_equal(np.concatenate([wait().logits for wait in waiting]), [*first, *first])
        for size in (2, 4, 5):
            parts = [engine(frames[i : i + size]) for i in range(0, len(frames), size)]
            np.testing.assert_array_equal(np.concatenate(parts), first)


def test_an_engine_that_nobody_has_any_more_is_gone(tsn):
    engine = tsn.open(num_videos=1000)
    engine(tsn.frames[1])
    threads = {thread for thread in threading.enumerate() if thread.name.startswith("network")}
    assert threads
    del engine
    wait_until(lambda: not any(thread.is_alive() for thread in threads))


def test_what_the_section_says_of_the_input_counts(tsn):
    mean = replace(tsn.section, image_mean=(0.1, 0.2, 0.3))
    exact = eager(load_model(section_model(tsn.config.model, mean), tsn.weights), tsn.frames[3])
    assert difference(tsn.open(image_mean=(0.1, 0.2, 0.3))(tsn.frames[3]), exact) < 1e-5


def test_a_kept_graph_needs_no_model(tsn, monkeypatch):
    first = tsn.open()(tsn.frames[3])
    monkeypatch.setattr(graph, "trace_segments", None)
    np.testing.assert_array_equal(tsn.open()(tsn.frames[3]), first)


@pytest.mark.parametrize("damage", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:1000], None])
def test_a_forged_graph_is_made_again(tsn, monkeypatch, tmp_path, damage):
    """In the case None, the manifest fits the forged graph, but no engine can read the graph."""
    exact = tsn.open()(tsn.frames[3])
    kept = Path(os.environ[CACHE_VARIABLE]) / find_network(tsn.config, tsn.section, "cpu").key
    shutil.copytree(kept, tmp_path / kept.name)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    blob = tmp_path / kept.name / "compiled.blob"
    whole = blob.read_bytes()
    blob.write_bytes(damage(whole) if damage else b"no graph")
    if not damage:
        manifest = json.loads((blob.parent / "manifest.json").read_text())
        manifest[blob.name] = hashlib.sha256(b"no graph").hexdigest()
        (blob.parent / "manifest.json").write_text(json.dumps(manifest))
    np.testing.assert_array_equal(tsn.open()(tsn.frames[3]), exact)
    assert read_kept(blob.parent.name)[blob.name].tobytes().startswith(whole[:30])


def test_other_weights_under_the_same_name_size_and_time_are_seen(tsn, tmp_path):
    weights, other = tmp_path / "weights.pdparams", tmp_path / "other.pdparams"
    state = random_state(18, NUM_CLASSES, narrow=True)
    write_pickle(weights, state)
    write_pickle(other, state | {"fc_0.w_0": np.ascontiguousarray(state["fc_0.w_0"][:, ::-1])})  # the same size
    before, old = tsn.open(weights=str(weights))(tsn.frames[3]), weights.stat()
    shutil.copyfile(other, weights)
    os.utime(weights, ns=(old.st_atime_ns, old.st_mtime_ns))
    new = weights.stat()
    assert (new.st_size, new.st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    exact = eager(load_model(section_model(tsn.config.model, tsn.section), weights), tsn.frames[3])
    assert difference(tsn.open(weights=str(weights))(tsn.frames[3]), exact) < 1e-5
    assert difference(before, exact) > 1e-3


def test_what_cannot_be_traced_runs_eagerly(tsn, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(graph, "trace_segments", lambda *_: False)
    engine = tsn.open()
    assert engine.description.startswith("float32 on cpu (eager), weights ") and engine.weights
    np.testing.assert_array_equal(engine(tsn.frames[3]), tsn.exact[3])
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().out == ""


def test_a_model_without_frame_features_is_not_traced(tsn, monkeypatch, tmp_path):
    monkeypatch.setattr("models.tsn.TSN.frame_features", None)
    monkeypatch.delattr("models.tsn.TSN.frame_features")
    assert (
        trace._segments(section_model(tsn.config.model, tsn.section), tsn.weights, [None, 32, 32, 3], tmp_path) is False
    )
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_fit_are_told_as_by_any_script(tsn, tmp_path):
    write_pickle(tmp_path / "w.pdparams", random_state(18, NUM_CLASSES + 1, narrow=True))
    with pytest.raises(InputError) as error:
        tsn.open(weights=str(tmp_path / "w.pdparams"))
    says(error.value, f"{tmp_path}/w.pdparams: ", f"{NUM_CLASSES + 1} classes", f"num_classes={NUM_CLASSES + 1}")


@pytest.mark.parametrize(
    "serve, pieces",
    [
        (stream_work.die, ("its process", "signal 9 (Killed)", "twice")),
        (stream_work.refuse, ("ValueError", "no such operator")),
    ],
)
def test_a_graph_that_cannot_be_made_is_one_line(tsn, monkeypatch, tmp_path, serve, pieces):
    monkeypatch.setattr(trace, "serve", serve)
    with pytest.raises(RunError) as error:
        trace.trace_segments(tsn.config.model, tsn.weights, 32, tmp_path)
    says(error.value, "the network's graph ", *pieces)


@pytest.mark.parametrize(("said", "shown"), [
    ("Exception from a.cpp:7:\nException from b.cpp:9:\nnode 'pool' can't alloc\n\n", "node 'pool' can't alloc"),
    ("", "RuntimeError"),
])  # fmt: skip
def test_a_network_that_finds_no_memory_is_one_line(said, shown):
    class Request:
        def create_infer_request(self):
            return self

        def infer(self, *_, **__):
            raise RuntimeError(said)

    wait = Engine(Request(), 1).start([np.zeros((1, 4, 4, 3), np.uint8)])
    with pytest.raises(RunError) as error:
        wait()
    says(error.value, "the network ", f": {shown}")


@pytest.mark.parametrize("wanted, hint", [("float32", "f32"), ("bfloat16", "bf16")])
def test_the_precision_is_always_named(wanted, hint):
    """OpenVINO's own choice depends on the processor."""
    assert settings(wanted, 2, 3) == {
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": 2,
        "INFERENCE_NUM_THREADS": 3,
        "ENABLE_CPU_PINNING": False,
    }


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_bfloat16_is_close(tsn):
    engine = tsn.open(precision="bfloat16")
    assert 0 < difference(engine(tsn.frames[3]), tsn.exact[3]) < 0.03
    assert engine.description.startswith("bfloat16 on cpu (OpenVINO), weights ")


@pytest.mark.parametrize("features, chosen", [("avx2", "float32"), ("avx512f avx512_bf16", "bfloat16")])
def test_auto_is_what_the_processor_has(tsn, monkeypatch, features, chosen):
    """Both cases run on any processor: without bfloat16, OpenVINO ignores the hint."""
    monkeypatch.setattr("utils.processor.processor", lambda: features)
    engine = tsn.open(precision="auto")
    assert engine.precision == f"{chosen} on cpu (OpenVINO)"
    assert difference(engine(tsn.frames[3]), tsn.exact[3]) < 0.03
