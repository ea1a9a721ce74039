"""Test what every script prints once: its configuration, and the keys without effect."""

from pathlib import Path

import pytest

from utils.config.flags import parse_flags
from utils.config.loading import load_config
from utils.config.session import announce

ORIGINAL = Path(__file__).parents[2] / "configs" / "original_tsn_dist_and_dali.yaml"


@pytest.mark.parametrize(
    "script, sections",
    [
        ("train", ["MODEL", "TRAIN", "VALID"]),
        ("eval", ["MODEL", "TEST"]),
        ("predict", ["MODEL", "INFER"]),
        ("export", ["MODEL", "INFER"]),
    ],
)
def test_the_sections_of_the_script(capsys, script, sections):
    flags = parse_flags(script, [f"--config={ORIGINAL}", "--set", "TEST.seg_num=9", "--verbose"])
    announce(flags, load_config(flags.config, flags.section_overrides, flags.sets), "TSN", weights="w", data="")
    out = capsys.readouterr().out
    assert [line.split(":")[0].strip() for line in out.splitlines() if line.startswith("  ")] == sections
    assert ("seg_num=9" in out) == (script == "eval")
    assert out.startswith(
        f"model: TSN (configuration: {ORIGINAL})\nweights: w\nevery key of the configuration:\n  MODEL: "
    )
    flags = parse_flags(script, [f"--config={ORIGINAL}"])
    announce(flags, load_config(flags.config), "TSN")
    first, *others = capsys.readouterr().out.splitlines()
    assert first == f"model: TSN (configuration: {ORIGINAL})" and not any("seg_num" in line for line in others)


def test_what_is_cut_is_said_once(capsys, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("MODEL: {num_classes: 3, topk: 5}\nINFER: {topk: 9}\n")
    announce(parse_flags("eval", [f"--config={path}"]), load_config(path), "TSN")
    *_, cut = capsys.readouterr().out.splitlines()
    assert cut == f"topk cut to num_classes 3: MODEL.topk=5 ({path}:1), INFER.topk=9 ({path}:2)"


def test_what_has_no_effect_is_said_once(capsys):
    flags = parse_flags("train", [f"--config={ORIGINAL}", "--no_memory_optimize"])
    announce(flags, load_config(flags.config), "TSN")
    *_, keys, flag = capsys.readouterr().out.splitlines()
    assert keys.startswith("keys without effect: ") and keys.count("TRAIN.total_videos (") == 1
    for key in ("TRAIN.use_dali", "TRAIN.num_trainers", "TRAIN.trainer_id"):
        assert key in keys
    assert flag == "--no_memory_optimize has no effect: there is no such pass any more"
