"""int8: the videos for rounding and for comparison, when the graph is refused, and that it is kept."""

import re
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import openvino
import openvino.opset13 as opset
import pytest

from conftest import NUM_CLASSES, make_clip, run_narrow, synthetic_frames, write_list
from inference import graph, int8
from inference.int8 import COMPARED, Agreement, Calibration, compare
from inference.network import Network, load_network
from pptsm_reference import random_pptsm
from utils.config.loading import Config, load_config
from utils.errors import InputError
from utils.storage.files import CACHE_VARIABLE
from weight_formats import random_state, write_pickle

ROUNDED = r"int8 on cpu \(OpenVINO\), rounded by 8 videos; of 7 others \d keep their top-1, "
ROUNDED += r"its probabilities change by [\d.e-]+ at most, [\d.e-]+ in the mean"


@pytest.fixture
def listed(workspace, tmp_path) -> Path:
    """Write a list of all 15 clips without labels."""
    videos = [video for video, _ in workspace.videos + workspace.held_out]
    (tmp_path / "calibration.list").write_text("".join(f"{video}\n" for video in videos))
    return tmp_path / "calibration.list"


@pytest.fixture
def config(workspace) -> Config:
    return load_config(workspace.folder / "tiny.yaml")


def in_int8(config: Config, listed: str | Path, **section: object) -> Config:
    """Return the configuration with INFER in int8, accepting any agreement."""
    keys = {"precision": "int8", "calibration": str(listed), "int8_agreement": 0.0}
    return replace(config, infer=replace(config.infer, **(keys | section)))


def write_narrow(weights: Path, name: str = "TSN") -> None:
    make = random_pptsm if name == "PPTSMv2" else partial(random_state, 18)
    write_pickle(weights, make(num_classes=NUM_CLASSES, narrow=True))


def open_network(folder: Path, config: Config) -> Network:
    """Return the network with random weights."""
    write_narrow(weights := folder / "random.pdparams", config.model.name)
    section = replace(config.infer, weights=str(weights))
    return load_network(config, section, "cpu", 1)


@pytest.mark.parametrize("videos, used, others", [(2, 1, 1), (3, 2, 1), (15, 8, 7), (150, 75, 75), (1000, 100, 100)])
def test_three_hundred_frames_are_rounded_by_and_as_many_other_videos_compared(config, tmp_path, videos, used, others):
    listed = write_list(tmp_path / "long.list", [(tmp_path / f"{n}.mp4", 7) for n in range(videos)])
    calibration = Calibration(in_int8(config, listed), in_int8(config, listed).infer)
    paths = [int(Path(entry.path).stem) for entry in calibration.entries]
    assert len(calibration.used) == used and len(paths) - used == others <= COMPARED
    assert paths == sorted(set(paths)) and paths[0] == 0 and paths[-1] == videos - 1  # from the whole list


@pytest.mark.parametrize("calibration, message", [
    ("", "--precision=int8 needs INFER.calibration, .* --set INFER.calibration=FILE"),
    ("gone.list", "gone.list: no such file list"),
    ("one.list", "one.list: int8 needs two videos or more, .*"),
])  # fmt: skip
def test_a_calibration_that_is_missing_or_too_short_is_told(config, tmp_path, monkeypatch, calibration, message):
    monkeypatch.chdir(tmp_path)
    write_list(Path("one.list"), [(tmp_path / "a.mp4", 0)])
    wanted = in_int8(config, calibration)
    with pytest.raises(InputError, match=f"^{message}$"):
        Calibration(wanted, wanted.infer)


def test_the_digest_is_of_the_videos_contents_and_of_how_they_are_cut(config, tmp_path):
    for number in range(3):
        make_clip(tmp_path / f"{number}.mp4", synthetic_frames(0, number))
    listed = write_list(tmp_path / "three.list", [(tmp_path / f"{number}.mp4", 0) for number in range(3)])

    def digest(**section: object) -> str:
        wanted = in_int8(config, listed, **section)
        return Calibration(wanted, wanted.infer).digest()

    first = digest()
    assert digest() == first and digest(int8_agreement=0.5) == first and digest(seg_num=4) != first
    shutil.copyfile(tmp_path / "2.mp4", tmp_path / "1.mp4")
    assert digest() != first


def test_agreement_counts_the_likeliest_class_and_every_change():
    clips = [np.full((1, 1, 1, 3), number, np.uint8) for number in range(3)]
    exact = {0: [0.9, 0.1], 1: [0.6, 0.4], 2: [0.2, 0.8]}
    rounded = {0: [0.8, 0.2], 1: [0.4, 0.6], 2: [0.2, 0.8]}
    answers = [lambda clip, of=of: np.array(of[int(clip.max())]) for of in (exact, rounded)]
    found = compare(*answers, clips, rounded_by=5)
    assert (found.rounded_by, found.videos, found.equal) == (5, 3, 2)
    assert (found.largest, found.mean) == (pytest.approx(0.2), pytest.approx(0.1))
    assert str(found) == (
        "rounded by 5 videos; of 3 others 2 keep their top-1, its probabilities change by 0.2 at most, 0.1 in the mean"
    )


@pytest.mark.parametrize("equal, refused", [(95, False), (94, True)])
def test_a_graph_that_changes_too_many_answers_is_refused_with_its_figures(config, listed, equal, refused):
    wanted = in_int8(config, listed, int8_agreement=0.95)
    agreement, calibration = Agreement(100, 100, equal, 0.25, 0.003), Calibration(wanted, wanted.infer)
    if not refused:
        assert calibration.checked(agreement) == agreement
        return
    with pytest.raises(InputError) as error:
        calibration.checked(agreement)
    assert str(error.value).startswith(f"--precision=int8 is refused: {agreement}; 94.0% is below ")
    assert str(error.value).endswith(" by --set INFER.int8_agreement=0.94")


@pytest.mark.parametrize("name", ["TSN", "PPTSMv2"])
def test_it_is_kept_and_gives_the_same_bits_however_the_work_is_cut(
    name, narrow_networks, config, listed, monkeypatch, tmp_path
):
    pytest.importorskip("nncf")
    config = replace(config, model=replace(config.model, name=name))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    frames = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32, 3), dtype=np.uint8)
    wanted = in_int8(config, listed)
    first = open_network(tmp_path, wanted)
    assert re.fullmatch(ROUNDED, first.precision) and first.precision in first.description
    answers = first(frames)
    exact = open_network(tmp_path, replace(config, infer=replace(config.infer, precision="float32")))(frames)
    assert 0 < np.abs(answers - exact).max() < np.abs(exact).max()
    monkeypatch.setitem(sys.modules, "nncf", None)  # a kept graph does not need it
    monkeypatch.setattr(graph, "trace_segments", None)
    again = open_network(tmp_path, wanted)
    assert again.precision == first.precision
    np.testing.assert_array_equal(np.concatenate([again(clip[None]) for clip in frames]), answers)


def test_the_products_of_two_weights_never_overflow_16_bits():
    """Not in any layer: NNCF itself would keep to that only in the first one."""
    pytest.importorskip("nncf")
    random = np.random.default_rng(0)
    frames = opset.parameter([1, 8, 6, 6], np.float32)
    value = frames
    for _ in range(3):
        weights = opset.constant(random.normal(size=(8, 8, 3, 3)).astype(np.float32))
        value = opset.relu(opset.convolution(value, weights, [1, 1], [1, 1], [1, 1], [1, 1]))
    clips = [random.random((1, 8, 6, 6), np.float32) for _ in range(4)]
    rounded = int8.quantise(openvino.Model([value], [frames]), clips)
    found = [node.data for node in rounded.get_ops() if node.get_element_type() == openvino.Type.i8]
    assert len(found) == 3
    for weights in found:
        assert 60 < np.abs(weights.astype(int)).max() <= 64  # 2 * 64 * 255 is below 2**15


def test_a_missing_nncf_is_told_with_the_command(workspace, config, listed, monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(InputError, match="^--precision=int8 needs .* nncf, .*: pip install -r requirements-int8.txt$"):
        int8.quantise(None, [])


def test_what_predict_says_and_writes(workspace, listed, tmp_path):
    """The agreement is in the log and on the page, and unreadable videos are named and not used."""
    pytest.importorskip("nncf")
    (tmp_path / "bad.mp4").write_text("no video")
    listed.write_text(f"{tmp_path / 'bad.mp4'}\n{listed.read_text()}")
    sets = [f"INFER.calibration={listed}", "INFER.int8_agreement=0"]
    flags = ["--precision=int8", *(f"--set={key}" for key in sets), f"--save_dir={tmp_path / 'out'}"]
    write_narrow(tmp_path / "TSN.pdparams")
    ended = run_narrow("predict", workspace.config, f"--weights={tmp_path / 'TSN.pdparams'}", *flags)
    assert ended.returncode == 0, ended.stderr
    assert f"unreadable, not used for int8: {tmp_path / 'bad.mp4'}: not a readable video file\n" in ended.stdout
    said = re.search(ROUNDED.replace("8 videos", "7 videos").replace("of 7", "of 8"), ended.stdout)
    assert said, ended.stdout
    assert said[0] in (tmp_path / "out" / "report.html").read_text()
    assert "Statistics" not in ended.stdout + ended.stderr  # NNCF's own bars
