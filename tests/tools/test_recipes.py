"""benchmarks/recipes.py: a recipe as a real run over few clips, and what it changes of each recipe."""

import json
from pathlib import Path

from benchmarks.recipes import RECIPES, changes
from conftest import copy_repository, make_clip, run_command, synthetic_frames
from utils.config.loading import load_config


def test_a_recipe_is_run_with_seeds_and_its_figures_are_in_the_table(tmp_path):
    copy = tmp_path / "copy"
    copy_repository(copy)
    for number in range(10):
        clip = tmp_path / "clips" / ("calm", "fight")[number % 2] / f"{number}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        make_clip(clip, synthetic_frames(number % 2, number))
    few = "--seeds=2 --set TRAIN.epoch=1 --set TRAIN.engine=eager"
    ended = run_command(f"python benchmarks/recipes.py scratch '{tmp_path / 'clips'}' {few}", copy)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    found = json.loads((copy / "benchmarks/results/recipes_scratch_own.json").read_text())
    assert [one["name"] for one in found["runs"]] == ["seed 1", "seed 2"]
    videos = found["runs"][0]["videos"]
    row = ended.stdout.rpartition("\n\nwritten to ")[0].splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:5] == ["scratch", "own", "random weights", "2", str(videos)] and videos > 0
    assert cells[5:7] == [f"{found['mean']:.2f}", f"{found['deviation']:.2f}"]
    assert "\nrecipe: configs/tsn_demo.yaml, changed: MODEL.num_classes=2, TRAIN.filelist=benchmarks/" in ended.stdout
    assert ", TRAIN.epoch=1, TRAIN.engine=eager\nprotocol: 3 segments, short side 36" in ended.stdout


def test_what_is_changed_is_that_of_the_recipe(tmp_path):
    (tmp_path / "kinetics_labels.json").write_text(json.dumps({"calm": 0, "fight": 1}))
    for name in ("finetune", "scratch"):
        plain = load_config(RECIPES[name], {}, changes(name, tmp_path, None), "TRAIN")
        assert (plain.model.num_classes, plain.test.filelist) == (2, str(tmp_path / "test.list"))
        assert (plain.model.num_layers, plain.train.image_size) == ((50, 224), (18, 32))[name == "scratch"]
    started = load_config(RECIPES["finetune"], {}, changes("finetune", tmp_path, Path("it.pdparams")), "TRAIN")
    assert (started.train.pretrain, started.model.num_layers, started.test.image_size) == ("it.pdparams", 18, 32)
    assert (started.train.epoch, started.train.multi_scale_crop) == (30, 5)  # the recipe itself is kept
    assert not changes("classifier", tmp_path, None)
