"""Test the flags of the scripts: their names, defaults and keys, and the error for each mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import says
from utils.config.flags import FLAGS, SECTION_OF, parse_flags, reference_table
from utils.config.loading import load_config
from utils.errors import InputError

ROOT = Path(__file__).parents[3]
SCRIPTS = ("train", "eval", "predict", "export", "serve", "live")

# The original's flags: which scripts have them, and the defaults that are not "as in the configuration".
ORIGINAL = {
    "train": "model_name config batch_size learning_rate pretrain resume use_gpu no_memory_optimize epoch "
    "valid_interval save_dir log_interval fix_random_seed is_profiler profiler_path",
    "eval": "model_name config batch_size use_gpu save_dir log_interval weights",
    "predict": "model_name config batch_size use_gpu save_dir log_interval weights filelist video_path infer_topk",
}


@pytest.mark.parametrize("script", ORIGINAL)
def test_every_flag_of_the_original_is_there(script):
    for name in ORIGINAL[script].split():
        value = [] if name == "no_memory_optimize" else ["1"]
        parse_flags(script, [f"--{name}", *value])


@pytest.mark.parametrize(
    "script, defaults",
    [
        ("train", {"save_dir": None, "log_interval": 10, "valid_interval": 1, "fix_random_seed": False,
                   "is_profiler": False, "profiler_path": "./", "no_memory_optimize": False,
                   "resume": None}),
        ("eval", {"save_dir": "data/evaluate_results", "log_interval": 1, "restart": False, "features": None}),
        ("predict", {"save_dir": "data/predict_results", "log_interval": 1, "restart": False, "features": False}),
        ("export", {"save_dir": "data/inference_model", "log_interval": None, "format": "paddle"}),
        ("serve", {"host": "127.0.0.1", "port": 8000, "token": None, "max_upload_mb": 256, "max_seconds": 600.0,
                   "max_waiting": 32, "save_dir": None}),
    ],
)  # fmt: skip
def test_defaults(script, defaults):
    flags = parse_flags(script, [])
    assert (flags.script, flags.config, flags.section_overrides, flags.sets) == (script, "configs/tsn.yaml", {}, ())
    assert {name: getattr(flags, name) for name in defaults} == defaults


@pytest.mark.parametrize(
    "script, name, key",
    [
        ("train", "model_name", "MODEL.name"),
        ("train", "batch_size", "TRAIN.batch_size"),
        ("train", "learning_rate", "TRAIN.learning_rate"),
        ("train", "epoch", "TRAIN.epoch"),
        ("train", "use_gpu", "TRAIN.use_gpu"),
        ("train", "save_dir", "TRAIN.save_dir"),
        ("train", "pretrain", "TRAIN.pretrain"),
        ("eval", "model_name", "MODEL.name"),
        ("eval", "batch_size", "TEST.batch_size"),
        ("eval", "use_gpu", "TEST.use_gpu"),
        ("eval", "precision", "TEST.precision"),
        ("eval", "weights", "TEST.weights"),
        ("predict", "batch_size", "INFER.batch_size"),
        ("predict", "use_gpu", "INFER.use_gpu"),
        ("predict", "filelist", "INFER.filelist"),
        ("predict", "video_path", "INFER.video_path"),
        ("predict", "infer_topk", "INFER.topk"),
        ("predict", "precision", "INFER.precision"),
        ("predict", "weights", "INFER.weights"),
        ("export", "use_gpu", "INFER.use_gpu"),
        ("export", "weights", "INFER.weights"),
    ],
)
def test_flags_that_set_keys(script, name, key):
    assert parse_flags(script, [f"--{name}=x"]).section_overrides == {key: "x"}
    assert parse_flags(script, [f"--{name}", "x"]).section_overrides == {key: "x"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_empty_value_means_not_given(script):
    names = [flag.name for flag in FLAGS if script in flag.defaults and flag.kind]
    assert parse_flags(script, [f"--{name}=" for name in names] + ["--set", ""]) == parse_flags(script, [])
    assert parse_flags(script, [word for name in names for word in (f"--{name}", "")]) == parse_flags(script, [])


@pytest.mark.parametrize("text", ["True", "true", "TRUE", "1"])
def test_truths(text):
    assert parse_flags("train", [f"--fix_random_seed={text}"]).fix_random_seed is True
    assert parse_flags("train", [f"--is_profiler={text}"]).is_profiler is True
    assert load_config(ROOT / "configs" / "tsn.yaml", {"TRAIN.use_gpu": text}).demands_gpu


@pytest.mark.parametrize("text", ["False", "false", "FALSE", "0"])
def test_falsehoods(text):
    assert parse_flags("train", [f"--fix_random_seed={text}"]).fix_random_seed is False
    assert load_config(ROOT / "configs" / "tsn.yaml", {"TRAIN.use_gpu": text}).train.use_gpu is False


@pytest.mark.parametrize("text, value", [("True", True), ("false", False), ("segments", "segments"), ("", False)])
def test_features(text, value):
    assert parse_flags("predict", [f"--features={text}"]).features == value


def test_a_whole_command_line_reaches_the_configuration(monkeypatch):
    monkeypatch.chdir(ROOT)
    argv = "--model_name=tsn --batch_size=4 --video_path=a.mp4 --infer_topk=2 --use_gpu=False --log_interval=3".split()
    argv += ["--weights=w", "--set", "INFER.seg_num=9", "--set=INFER.topk=3", "--save_dir", "out dir"]
    flags = parse_flags("predict", argv)
    assert (flags.log_interval, flags.save_dir) == (3, "out dir")
    config = load_config(flags.config, flags.section_overrides, flags.sets)
    infer = config.infer
    assert config.model.name == "tsn"
    assert (infer.batch_size, infer.video_path, infer.topk, infer.use_gpu, infer.seg_num) == (4, "a.mp4", 3, False, 9)
    assert (infer.weights, config.test.weights) == ("w", "")


def test_the_last_of_two_counts():
    flags = parse_flags("eval", ["--config=a", "--config=b", "--batch_size=1", "--batch_size=2"])
    assert (flags.config, flags.section_overrides) == ("b", {"TEST.batch_size": "2"})


def test_paths_are_taken_as_they_are():
    path = "'a' b: #c, [1].list"
    flags = parse_flags("predict", [f"--filelist={path}", f"--save_dir={path}", f"--weights={path}"])
    infer = load_config(ROOT / "configs" / "tsn.yaml", flags.section_overrides).infer
    assert (flags.save_dir, infer.weights, infer.filelist) == (path, path, path)


@pytest.mark.parametrize(
    "script, argv, pieces",
    [
        ("train", ["--lerning_rate=3"], ("unknown flag", "--lerning_rate", "did you mean --learning_rate?")),
        ("train", ["--batch-size", "3"], ("unknown flag", "--batch-size", "did you mean --batch_size?")),
        ("train", ["--Epoch=3"], ("unknown flag", "--Epoch", "did you mean --epoch?")),
        ("train", ["-epoch", "3"], ("unknown flag", " -epoch", "did you mean --epoch?")),
        ("train", ["--batch"], ("unknown flag", "--batch", "did you mean --batch_size?")),
        ("train", ["--epo=3"], ("unknown flag", "--epo", "did you mean --epoch?")),
        ("train", ["--infer_topk=3"], ("unknown flag", "--infer_topk", "see train.py --help")),
        ("eval", ["--zzz"], ("unknown flag", "--zzz", "see eval.py --help")),
        ("eval", ["TSN", "--zzz"], ("unexpected argument", "TSN", "see eval.py --help")),
        ("eval", ["a\nb"], ("unexpected argument", "a b", "see eval.py --help")),
        ("eval", ["--batch_size"], ("--batch_size:", "one argument", "see eval.py --help")),
        ("eval", ["--weights", "--config"], ("--weights:", "one argument", "see eval.py --help")),
        ("eval", ["--set"], ("--set:", "one argument", "see eval.py --help")),
        ("train", ["--log_interval=0"], ("--log_interval=0:", "from 1 up", "not 0")),
        ("train", ["--log_interval", "-3"], ("--log_interval=-3:", "from 1 up", "not -3")),
        ("train", ["--log_interval=1.5"], ("--log_interval=1.5:", "whole number from 1 up", "not 1.5")),
        ("train", ["--valid_interval=-1"], ("--valid_interval=-1:", "from 0 up", "not -1")),
        ("train", ["--valid_interval=x"], ("--valid_interval=x:", "whole number from 0 up", "not x")),
        ("train", ["--fix_random_seed=2"], ("--fix_random_seed=2:", "True or False", "not 2")),
        ("train", ["--is_profiler=maybe"], ("--is_profiler=maybe:", "True or False", "not maybe")),
        ("eval", ["--save_dir=a\x00b"], ("--save_dir=a\\x00b:", "a text", "not a\\x00b")),
        ("eval", ["--save_dir=  "], ("--save_dir=:", "not empty", "not nothing")),
    ],
)
def test_mistakes(script, argv, pieces):
    with pytest.raises(InputError) as caught:
        parse_flags(script, argv)
    says(caught.value, *pieces)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_flag_with_its_default(script, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_flags(script, ["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    known = {flag.name for flag in FLAGS if script in flag.defaults}
    for flag in FLAGS:
        assert (f"--{flag.name} " in text) == (flag.name in known)  # --format is another flag in another script
        if script in flag.defaults and flag.defaults[script] is not None:
            assert f"(default: {flag.defaults[script]})" in text
    assert ("--no_memory_optimize accepted" in text) == (script == "train")
    assert f"python {script}.py --config=" in text and "--set SECTION.key=value" in text


def test_reference_table_has_every_flag():
    rows = [line.strip("| ").split(" | ") for line in reference_table().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"--{flag.name}" for flag in FLAGS] + ["--set SECTION.key=value"]
    assert [row[1] for row in rows][-1] == ", ".join(SECTION_OF) == ", ".join(SCRIPTS)
    assert {len(row) for row in rows} == {4}


@pytest.mark.parametrize("module, first", [("utils.config.flags", "| flag |"), ("utils.config.loading", "| section |")])
def test_tables_are_printed_without_importing_the_heavy_packages(module, first):
    code = f"import runpy, sys; runpy.run_module({module!r}, run_name='__main__')\n"
    code += "assert not {'paddle', 'numpy', 'av'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(first)


@pytest.mark.parametrize(
    ("flags", "pieces"),
    [
        (["--ray=here"], ("--ray=here:", "local, auto or HOST:PORT")),
        (["--ray=auto", "--nproc=2"], ("--nproc=2 and --ray=auto:", "each machine uses all its cores")),
        (["--shard_size=5"], ("--shard_size=5:", "needs --ray or --format=parquet")),
        (["--ray=local", "--shard_size=0"], ("--shard_size=0:", "from 1 up", "not 0")),
    ],
)
def test_flags_of_a_cluster_that_contradict(flags, pieces):
    with pytest.raises(InputError) as caught:
        parse_flags("predict", flags)
    says(caught.value, *pieces)


def test_flags_of_a_cluster():
    flags = parse_flags("predict", ["--ray=10.0.0.7:6379", "--shard_size=50", "--nproc=1"])
    assert (flags.ray, flags.shard_size, flags.format) == ("10.0.0.7:6379", 50, "json")
    assert parse_flags("predict", ["--format=parquet", "--shard_size=50"]).format == "parquet"
