"""Test what load_config accepts, and the values that it resolves."""

import dataclasses
import random
import re
from pathlib import Path

import pytest
import yaml

from utils.config.keys import SECTIONS
from utils.config.loading import load_config, reference_table

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
ORIGINALS = sorted((ROOT / "tests" / "configs").glob("original_*.yaml"))


@pytest.mark.parametrize("text", ["off", "Off", "'off'", "False"])
def test_off_is_a_word(tmp_path, text):
    """YAML reads it as False."""
    (tmp_path / "x.yaml").write_text(f"TRAIN:\n    amp: {text}\n")
    config = load_config(tmp_path / "x.yaml")
    assert config.train.amp == load_config(tmp_path / "x.yaml", {}, [f"TRAIN.amp={text}"]).train.amp == "off"
    (tmp_path / "dumped.yaml").write_text(config.dump())
    assert load_config(tmp_path / "dumped.yaml") == config


# --- what loads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED + ORIGINALS, ids=lambda path: path.name)
def test_every_configuration_loads(path):
    config = load_config(path)
    assert config.model.name == {"tsm": "TSM", "finetune": "TSM", "pptsm_v2": "PPTSMv2"}.get(path.stem, "TSN")
    assert not config.demands_gpu and not config.cut_topk


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_configuration_opens_with_its_command_and_whose_figures_it_has(path):
    opening = path.read_text().split("\nMODEL:")[0]
    assert all(not line or line.startswith("#") for line in opening.splitlines())
    assert re.search(rf"\n#   (python train.py --config=configs/{path.name}|bash run.sh)", opening)
    figures = "Expected on" if path.stem in ("tsn", "tsn_demo") else "Not measured by us"
    assert figures in opening and "Run time" in opening


def test_both_originals_and_the_shipped_files_are_there():
    assert [path.name for path in ORIGINALS] == ["original_tsn.yaml", "original_tsn_dist_and_dali.yaml"]
    names = ["finetune", "pptsm_v2", "pptsn", "tsm", "tsn", "tsn_demo", "tsn_strong"]
    assert [path.stem for path in SHIPPED] == names


@pytest.mark.parametrize("path", ORIGINALS, ids=lambda path: path.name)
def test_every_value_of_the_originals_arrives(path):
    """Compare with PyYAML, which reads 1e-4 as a text."""
    config = load_config(path)
    tree = yaml.safe_load(path.read_text())
    ignored = []
    for section, keys in tree.items():
        for name, value in keys.items():
            if name in ("total_videos", "use_dali", "num_trainers", "trainer_id"):
                ignored.append(f"{section}.{name}")
                continue
            value = {"1e-4": 0.0001}.get(value, value) if isinstance(value, str) else value
            value = tuple(value) if isinstance(value, list) else value
            assert getattr(getattr(config, section.lower()), name) == value
    assert [name for name, _ in config.ignored_keys] == ignored


def test_ignored_keys_say_where():
    path = ORIGINALS[1]
    assert load_config(path).ignored_keys == (
        ("TRAIN.total_videos", f"{path}:26"),
        ("TRAIN.num_trainers", f"{path}:27"),
        ("TRAIN.trainer_id", f"{path}:28"),
        ("TRAIN.use_dali", f"{path}:29"),
        ("TEST.use_dali", f"{path}:47"),
    )


def test_milestones_beside_a_cosine_are_among_them():
    path, milestones = ROOT / "configs" / "tsn.yaml", "TRAIN.milestones=[2,4]"
    usual = load_config(path, {}, [milestones]).ignored_keys
    ignored = load_config(path, {}, [milestones, "TRAIN.schedule=cosine"]).ignored_keys
    assert ignored == (*usual, ("TRAIN.milestones", f"--set {milestones}"))


def test_shipped_tsn_is_the_original_but_for_the_format():
    ours, original = (yaml.safe_load(path.read_text()) for path in (ROOT / "configs" / "tsn.yaml", ORIGINALS[0]))
    assert (ours["MODEL"].pop("format"), original["MODEL"].pop("format")) == ("mp4", "pkl")
    assert ours == original


def test_defaults_are_the_values_of_the_shipped_file(write_config):
    config, default = load_config(ROOT / "configs" / "tsn.yaml"), load_config(write_config("MODEL:\n"))
    # Three keys have another default: TEST inherits its segments, no device count is expected, and there are as many
    # readers as cores.
    own = {"test": {"seg_num": 7}, "train": {"num_gpus": 8}}
    sections = {
        name: dataclasses.replace(getattr(default, name), num_reader_threads=12, **own.get(name, {}))
        for name in ("train", "valid", "test", "infer")
    }
    assert {getattr(default, name).num_reader_threads for name in sections} == {"auto"}
    assert config == dataclasses.replace(default, **sections)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1e-4", 0.0001),
        ("1E-4", 0.0001),
        ("1", 1.0),
        ("+1.5e+2", 150.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_000.5", 1000.5),
        ("0.1", 0.1),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
    ],
)
def test_numbers(write_config, text, expected):
    value = load_config(write_config(f"TRAIN:\n    learning_rate: {text}\n")).train.learning_rate
    assert value == expected and type(value) is float


def test_milestones(write_config):
    config = load_config(write_config("TRAIN:\n    milestones: [40, 80]\n"))
    assert config.train.milestones == (40, 80) and "milestones: [40, 80]\n" in config.dump()
    assert load_config(write_config("TRAIN:\n"), {}, ["TRAIN.milestones=[3]"]).train.milestones == (3,)
    assert load_config(write_config("TRAIN:\n")).train.milestones is None


@pytest.mark.parametrize(
    "text, expected",
    [
        ("True", True), ("true", True), ("TRUE", True), ("yes", True), ("on", True),
        ("False", False), ("false", False), ("no", False), ("off", False),
    ],
)  # fmt: skip
def test_truths(write_config, text, expected):
    assert load_config(write_config(f"MODEL:\n    keep_aspect_ratio: {text}\n")).model.keep_aspect_ratio is expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a b.list", "a b.list"),
        ("'it''s.list'", "it's.list"),
        ('"1e-4"', "1e-4"),
        ("数据/列表.list", "数据/列表.list"),
        ("/données/x.list", "/données/x.list"),
        ("C:\\data\\x.list", "C:\\data\\x.list"),
        ('"\\U0001F600.list"', "😀.list"),
        ("2020-01-01", "2020-01-01"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
    ],
)
def test_texts(write_config, text, expected):
    assert load_config(write_config(f"TEST:\n    filelist: {text}\n")).test.filelist == expected


@pytest.mark.parametrize("text", ["MODEL: {seg_num: 5}", "MODEL:\r\n    seg_num: 5\r\n", "\ufeffMODEL:\n  seg_num: 5",
                                  "%YAML 1.1\n---\nMODEL:\n  seg_num: 5\n...\n"])  # fmt: skip
def test_other_ways_to_write_it(write_config, text):
    assert load_config(write_config(text)).model.seg_num == 5


def test_nothing_as_video_path_is_an_empty_text(write_config):
    assert load_config(write_config("INFER:\n    video_path:\n")).infer.video_path == ""


# --- resolution ---------------------------------------------------------------------------------------------------


def test_precedence_set_flag_file_default(write_config):
    path = write_config("TRAIN:\n    batch_size: 2\n")
    flags, sets = {"TRAIN.batch_size": 3}, ["TRAIN.batch_size=4"]
    assert load_config(write_config("MODEL:\n")).train.batch_size == 256
    path = write_config("TRAIN:\n    batch_size: 2\n")
    assert load_config(path).train.batch_size == 2
    assert load_config(path, {"TRAIN.batch_size": None}).train.batch_size == 2
    assert load_config(path, flags).train.batch_size == 3
    assert load_config(path, {"TRAIN.batch_size": "3"}).train.batch_size == 3
    assert load_config(path, flags, sets).train.batch_size == 4
    assert load_config(path, {}, sets).train.batch_size == 4
    assert load_config(path, flags, ["TRAIN.batch_size=4", "TRAIN.batch_size=5"]).train.batch_size == 5


def test_sections_inherit_from_model_and_may_override(write_config):
    path = write_config("MODEL: {seg_num: 4, format: pkl, topk: 2}\nTEST: {seg_num: 9, format: mp4}\nINFER: {topk: 3}")
    config = load_config(path)
    sections = (config.model, config.train, config.valid, config.test, config.infer)
    assert [section.seg_num for section in sections] == [4, 4, 4, 9, 4]
    assert (config.train.format, config.test.format) == ("pkl", "mp4")
    assert (config.train.topk, config.infer.topk) == (2, 3)
    config = load_config(path, sets=["MODEL.seg_num=6"])
    assert (config.train.seg_num, config.test.seg_num) == (6, 9)


def test_the_protocol_is_inherited_but_training_has_one_crop(write_config):
    given = {"sampling": "uniform", "resize": "opencv", "crops": 10, "average": "probabilities"}
    config = load_config(write_config(f"MODEL: {given}\nTRAIN: {{multi_scale_crop: 13}}\n"))
    for section in (config.model, config.train, config.valid, config.test, config.infer):
        crops = 1 if section is config.train else 10
        assert {key: getattr(section, key) for key in given} == {**given, "crops": crops}
        assert section.keep_aspect_ratio
    assert config.train.multi_scale_crop == 13
    config = load_config("x.yaml", sets=["VALID.crops=3", "TEST.sampling=linspace", "TRAIN.crops=1"])
    assert (config.train.crops, config.valid.crops, config.test.crops) == (1, 3, 10)
    assert (config.valid.sampling, config.test.sampling) == ("uniform", "linspace")
    assert (config.valid.image_size, config.test.image_size) == (256, 224)
    assert load_config(write_config(config.dump())) == config


@pytest.mark.parametrize(
    "text, model, test",
    [
        ("MODEL: {resize: opencv}", True, True),
        ("MODEL: {resize: pillow}", False, False),
        ("TEST: {resize: opencv}", False, True),
        ("MODEL: {resize: opencv}\nTEST: {resize: pillow}", True, False),
        ("MODEL: {resize: opencv, keep_aspect_ratio: False}", False, False),
        ("MODEL: {keep_aspect_ratio: False}\nTEST: {resize: opencv}", False, False),
        ("MODEL: {keep_aspect_ratio: True}\nTEST: {resize: pillow}", True, True),
        ("MODEL: {resize: opencv}\nTEST: {keep_aspect_ratio: False}", True, False),
    ],
)
def test_an_aspect_ratio_that_nobody_gave_follows_the_resize(write_config, text, model, test):
    config = load_config(write_config(text))
    assert (config.model.keep_aspect_ratio, config.test.keep_aspect_ratio) == (model, test)
    assert load_config(write_config(config.dump())) == config


@pytest.mark.parametrize(
    "argument, section, key, expected",
    [
        ("MODEL.image_mean=[0, .5, 1]", "train", "image_mean", (0.0, 0.5, 1.0)),
        ("TEST.filelist=a b: #c.list", "test", "filelist", "a b: #c.list"),
        ("TEST.filelist=123", "test", "filelist", "123"),
        ("TEST.filelist='a b'", "test", "filelist", "a b"),
        ("TEST.filelist=a=b", "test", "filelist", "a=b"),
        ("TEST.use_gpu=0", "test", "use_gpu", False),
        ("TRAIN.l2_weight_decay=1e-5", "train", "l2_weight_decay", 1e-5),
        ("INFER.video_path=", "infer", "video_path", ""),
        (" TRAIN.epoch = 2", "train", "epoch", 2),
        ("MODEL.name=123", "model", "name", "123"),
        ("TRAIN.multi_scale_crop=5", "train", "multi_scale_crop", 5),
        ("TRAIN.multi_scale_crop=none", "train", "multi_scale_crop", "none"),
        ("VALID.crops=3", "valid", "crops", 3),
    ],
)
def test_set(write_config, argument, section, key, expected):
    config = load_config(write_config("MODEL:\n"), sets=[argument])
    assert getattr(getattr(config, section), key) == expected


def test_topk_that_nobody_gave_follows_num_classes(write_config):
    assert load_config(write_config("MODEL: {num_classes: 3}\n")).infer.topk == 3
    assert load_config(write_config("MODEL: {num_classes: 30}\n")).infer.topk == 5


@pytest.mark.parametrize(
    "text, sets, model, test, infer, cut",
    [
        ("MODEL: {num_classes: 3, topk: 5}", [], 3, 3, 3, [("MODEL.topk", "x.yaml:1", 5)]),
        ("MODEL: {topk: 5}", ["MODEL.num_classes=4"], 4, 4, 4, [("MODEL.topk", "x.yaml:1", 5)]),
        ("MODEL: {num_classes: 6}\nINFER: {topk: 20}", [], 5, 5, 6, [("INFER.topk", "x.yaml:2", 20)]),
        ("MODEL: {topk: 9, num_classes: 3}\nTEST: {topk: 8}\nINFER: {topk: 2}", [], 3, 3, 2,
         [("MODEL.topk", "x.yaml:1", 9), ("TEST.topk", "x.yaml:2", 8)]),
        ("MODEL: {num_classes: 3, topk: 5}", ["MODEL.topk=2"], 2, 2, 2, []),
        ("MODEL: {num_classes: 3, topk: 5}", ["INFER.topk=1"], 3, 3, 1, [("MODEL.topk", "x.yaml:1", 5)]),
        ("MODEL: {num_classes: 5, topk: 5}", [], 5, 5, 5, []),
        ("MODEL: {topk: 401}", [], 400, 400, 400, [("MODEL.topk", "x.yaml:1", 401)]),
    ],
)  # fmt: skip
def test_topk_of_the_file_is_cut_to_num_classes(write_config, text, sets, model, test, infer, cut):
    config = load_config(write_config(text), sets=sets)
    assert (config.model.topk, config.test.topk, config.infer.topk) == (model, test, infer)
    assert config.cut_topk == tuple(cut)
    again = load_config(write_config(config.dump()))
    assert again == config and again.cut_topk == ()


def test_a_validation_list_may_be_none(write_config):
    assert load_config(write_config("VALID: {filelist: ''}\n")).valid.filelist == ""


def test_use_gpu_in_the_file_is_no_demand(write_config):
    path = write_config("TRAIN: {use_gpu: True}\n")
    config = load_config(path)
    assert config.train.use_gpu and not config.demands_gpu
    assert load_config(path, {"TRAIN.use_gpu": "1"}).demands_gpu
    assert load_config(path, {}, ["TRAIN.use_gpu=True"]).demands_gpu
    assert not load_config(path, {"TRAIN.use_gpu": "True"}, ["TRAIN.use_gpu=False"]).demands_gpu
    config = load_config(path, {"TRAIN.use_gpu": "False"})
    assert not config.train.use_gpu and not config.demands_gpu


def test_a_configuration_cannot_be_changed(write_config):
    config = load_config(write_config("MODEL:\n"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.epoch = 3


# --- dump ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED + ORIGINALS, ids=lambda path: path.name)
def test_dump_loads_back_equal(path, write_config):
    config = load_config(path)
    again = load_config(write_config(config.dump()))
    assert again == config and again.dump() == config.dump()
    assert again.ignored_keys == ()


@pytest.mark.parametrize(
    "text", ["1e-4", "null", "yes", "a: b #c", "数据", "it's \"x\"", " x ", "😀", "nbsp\u00a0\u2028x\ufeff", "x" * 5000,
             "\udcff.list", "-", "&a *b !c", "~"],
)  # fmt: skip
def test_dump_keeps_every_text(write_config, text):
    config = load_config(write_config("MODEL:\n"), {"TEST.filelist": text})
    assert config.test.filelist == text
    assert load_config(write_config(config.dump())) == config


def test_dump_keeps_every_number_exactly(write_config):
    numbers = random.Random(0)
    for _ in range(20):
        values = [10 ** numbers.uniform(-300, 3) for _ in range(4)]
        flags = {"TRAIN.learning_rate": values[0], "MODEL.image_std": values[1:]}
        config = load_config(write_config("MODEL:\n"), flags)
        assert load_config(write_config(config.dump())) == config


# --- the reference table ------------------------------------------------------------------------------------------


def test_reference_table_has_every_key_and_default():
    rows = [line.strip("| ").split(" | ") for line in reference_table().splitlines()[2:]]
    names = {row[1] for row in rows}
    assert names == {item.name for cls in SECTIONS.values() for item in dataclasses.fields(cls)}
    assert len({(row[0], row[1]) for row in rows}) == len(rows)
    assert ["TRAIN, VALID, TEST, INFER", "batch_size", "`256`, `256`, `16`, `1`"] in [row[:3] for row in rows]
    assert all(len(row) == 5 and row[4] for row in rows)


def test_what_the_working_folder_lacks_is_sought_beside_the_toolkit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = "data/dataset/kinetics_labels.json"
    (tmp_path / "x.yaml").write_text(f"INFER:\n    kinetics_labels: ./{labels}\n    filelist: gone.list\n")
    infer = load_config("x.yaml").infer
    assert (infer.kinetics_labels, infer.filelist) == (str(ROOT / labels), "gone.list")
    assert load_config("configs/tsn_demo.yaml").model.num_layers == 18  # it is missing here, too
    flags = {"INFER.kinetics_labels": labels}  # a flag's path belongs to the working folder
    assert load_config("x.yaml", flags).infer.kinetics_labels == labels
    (tmp_path / labels).parent.mkdir(parents=True)
    (tmp_path / labels).touch()
    assert load_config("x.yaml").infer.kinetics_labels == f"./{labels}"
