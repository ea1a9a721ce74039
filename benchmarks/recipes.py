"""How well and how fast the recipes learn: `python benchmarks/recipes.py RECIPE [FOLDER]`, a folder for each class.

Without FOLDER the demo's clips are learned. The recipes are those between which few clips leave a choice:

    classifier    the classifier alone, on features that are kept: what data/make_lists.py writes
    finetune      all layers from trained ones: configs/finetune.yaml
    scratch       all layers from random weights: configs/tsn_demo.yaml

tools/repeat.py trains and tests it with several seeds, on the lists that data/make_lists.py makes of the clips. The
first two start from the weights that the recipe names, which are downloaded. With --from-demo they start from
configs/tsn_demo.yaml, trained on the demo's classes with clips of another seed, which is not a substitute for
Kinetics-400 but needs no network and no GPU: ResNet-18, 3 segments, crops of 32. All that is changed of a recipe is
printed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from utils.cli import run
from utils.config.loading import load_config
from utils.errors import RunError

# From the root, where scripts are called: what is printed is the same on each machine.
OUT, DEMO_CLIPS = (common.RESULTS / "recipes").relative_to(ways.ROOT), Path("data/demo")
RECIPES = {"classifier": "config.yaml", "finetune": "configs/finetune.yaml", "scratch": "configs/tsn_demo.yaml"}
DEMO, OTHER_SEED = "configs/tsn_demo.yaml", 1
SPLIT = "0.6", "0.1", "0.3"  # of clips without train/, val/ and test/
NAMELESS = "--set=INFER.kinetics_labels="  # with names, the classifier's rows of the same classes would be kept
SIZES = ("short_size", 36), ("target_size", 32)  # those of configs/tsn_demo.yaml
LISTS = ("TRAIN", "train"), ("VALID", "val"), ("TEST", "test")


def call(script: str, *flags: str) -> None:
    """Run a script of ours, which says on the screen what it does."""
    print("$ python", script, *flags, flush=True)
    if code := subprocess.run([sys.executable, script, *flags], check=False).returncode:
        raise RunError(f"{script} ended with exit code {code}")


def make_lists(folder: Path | None, lists: Path) -> None:
    """Make the lists of the clips, and config.yaml."""
    videos = folder or DEMO_CLIPS
    if not folder:
        call("data/make_demo.py", f"--out={videos}")
    split = [] if (videos / "train").is_dir() else ["--split", *SPLIT]
    call("data/make_lists.py", f"--videos={videos}", f"--out={lists}", *split)


def weights_of_demo() -> Path:
    """Return weights that know the demo's classes from other clips than those of data/demo; made if not there."""
    folder = OUT / "start"
    weights = folder / "checkpoints" / "TSN.pdparams"
    if not weights.exists():
        call("data/make_demo.py", f"--out={folder / 'clips'}", f"--seed={OTHER_SEED}")
        lists = [f"--set={key}.filelist={folder / 'clips' / name}.list" for key, name in LISTS[:2]]
        how = f"--save_dir={folder / 'checkpoints'}", "--fix_random_seed=True", "--use_gpu=False"
        call("train.py", f"--config={DEMO}", *how, "--pretrain=none", *lists, NAMELESS)
    return weights


def changes(name: str, lists: Path, start: Path | None) -> list[str]:
    """Return SECTION.key=value for all that differs from the recipe: where it reads, and what --from-demo needs."""
    sets = []
    if name != "classifier":
        classes = json.loads((lists / "kinetics_labels.json").read_text("utf-8"))
        sets += [f"MODEL.num_classes={len(classes)}"]
        sets += [f"{one}.filelist={lists / each}.list" for one, each in LISTS]
        sets += [f"INFER.kinetics_labels={lists / 'kinetics_labels.json'}"]
    if start:
        sets += ["MODEL.name=TSN", "MODEL.backbone=resnet", "MODEL.num_layers=18", "MODEL.seg_num=3"]
        sets += [f"TRAIN.pretrain={start}"]
        sets += [f"{one}.{key}={size}" for key, size in SIZES for one, _ in LISTS]
    if name == "scratch":
        sets += ["TRAIN.pretrain=none"]
    return sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES, help="what is trained")
    parser.add_argument("folder", nargs="?", help="clips, a folder for each class (default: the demo's)")
    parser.add_argument("--seeds", type=int, default=3, help="runs (default: %(default)s)")
    parser.add_argument("--from-demo", action="store_true", help="start from a network that learned the demo's classes")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.key=value", help="any key; repeatable")
    args = parser.parse_args()
    folder = Path(args.folder).resolve() if args.folder else None
    os.chdir(ways.ROOT)
    machine = common.describe_machine()
    common.print_machine(machine)
    name = f"{args.recipe}_{'own' if args.folder else 'demo'}"
    out, lists = OUT / name, OUT / name / "lists"
    shutil.rmtree(out, ignore_errors=True)
    make_lists(folder, lists)
    start = weights_of_demo() if args.from_demo and args.recipe != "scratch" else None
    config = lists / "config.yaml" if args.recipe == "classifier" else RECIPES[args.recipe]
    sets = [*changes(args.recipe, lists, start), *args.set]
    call(
        "tools/repeat.py", f"--config={config}", f"--seeds={args.seeds}", f"--out={out / 'runs'}",
        *(f"--set={one}" for one in sets),
    )  # fmt: skip
    found = json.loads((out / "runs" / "repeat.json").read_text("utf-8"))
    pretrain = load_config(str(config), {}, sets, "TRAIN").train.pretrain
    known = {"none": "random weights", str(start): f"the demo's classes, seed {OTHER_SEED}"}
    report(args.recipe, not args.folder, known.get(pretrain, pretrain), sets, found)
    content = {"machine": machine, "recipe": args.recipe, "sets": sets, "pretrain": pretrain, **found}
    print(f"\nwritten to {common.write_results(f'recipes_{name}', content)}")


def report(name: str, demo: bool, begun: str, sets: Sequence[str], found: dict) -> None:
    """Print the figures, with all that they depend on."""
    low, high = found["interval"]
    runs = found["runs"]
    seconds = sum(one["seconds"] for one in runs) / len(runs)
    print(f"\nrecipe: {RECIPES[name]}, changed: {', '.join(sets) or 'nothing'}\nprotocol: {found['protocol']}")
    common.print_table(
        ["recipe", "clips", "from", "runs", "test clips", "top-1", "deviation", "95% interval", "seconds a run"],
        [[name, "the demo's" if demo else "own", begun, str(len(runs)), str(runs[0]["videos"]), f"{found['mean']:.2f}",
          f"{found['deviation']:.2f}", f"{low:.2f} to {high:.2f}", f"{seconds:.0f}"]],
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
