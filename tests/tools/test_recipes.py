"""benchmarks/recipes.py: a recipe as trainings over few clips, and what it changes of each recipe."""

import json
import sys
from pathlib import Path

from benchmarks import common, recipes, ways
from benchmarks.recipes import RECIPES, changes
from conftest import ROOT, make_clip, synthetic_frames
from utils.config.loading import load_config


def test_a_recipe_is_run_with_seeds_and_its_figures_are_in_the_table(tmp_path, monkeypatch, run_repeat, capsys):
    root, start, said = tmp_path / "root", recipes.call, []
    for folder in ("configs", "data"):
        (root / folder).parent.mkdir(exist_ok=True)
        (root / folder).symlink_to(ROOT / folder)
    for number in range(10):
        clip = tmp_path / "clips" / ("calm", "fight")[number % 2] / f"{number}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        make_clip(clip, synthetic_frames(number % 2, number))

    def call(script: str, *flags: str) -> None:
        said.append(run_repeat(*flags)) if script == "tools/repeat.py" else start(script, *flags)

    few = "--seeds=2", "--set=TRAIN.epoch=1", "--set=TRAIN.engine=eager"
    monkeypatch.chdir(root)  # main changes the folder, too: this changes it back
    monkeypatch.setattr(ways, "ROOT", root)
    monkeypatch.setattr(common, "RESULTS", root / "benchmarks/results")
    monkeypatch.setattr(recipes, "call", call)
    monkeypatch.setattr(sys, "argv", ["recipes.py", "scratch", str(tmp_path / "clips"), *few])
    recipes.main()
    printed = capsys.readouterr().out
    found = json.loads((root / "benchmarks/results/recipes_scratch_own.json").read_text())
    assert [one["name"] for one in found["runs"]] == ["seed 1", "seed 2"] and len(said) == 1
    videos = found["runs"][0]["videos"]
    row = printed.rpartition("\n\nwritten to ")[0].splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:5] == ["scratch", "own", "random weights", "2", str(videos)] and videos > 0
    assert cells[5:7] == [f"{found['mean']:.2f}", f"{found['deviation']:.2f}"]
    assert "\nrecipe: configs/tsn_demo.yaml, changed: MODEL.num_classes=2, TRAIN.filelist=benchmarks/" in printed
    assert ", TRAIN.epoch=1, TRAIN.engine=eager\nprotocol: 3 segments, short side 36" in printed


def test_changes_of_each_recipe(tmp_path):
    (tmp_path / "kinetics_labels.json").write_text(json.dumps({"calm": 0, "fight": 1}))
    for name in ("finetune", "scratch"):
        plain = load_config(RECIPES[name], {}, changes(name, tmp_path, None), "TRAIN")
        assert (plain.model.num_classes, plain.test.filelist) == (2, str(tmp_path / "test.list"))
        assert (plain.model.num_layers, plain.train.image_size) == ((50, 224), (18, 32))[name == "scratch"]
    started = load_config(RECIPES["finetune"], {}, changes("finetune", tmp_path, Path("it.pdparams")), "TRAIN")
    assert (started.train.pretrain, started.model.num_layers, started.test.image_size) == ("it.pdparams", 18, 32)
    assert (started.train.epoch, started.train.multi_scale_crop) == (30, 5)  # the recipe's own values stay
    assert not changes("classifier", tmp_path, None)
