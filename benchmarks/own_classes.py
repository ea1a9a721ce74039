"""Time a classifier for your own classes: `python benchmarks/own_classes.py FOLDER`, with a folder per class.

ResNet-50 with random weights, 3 segments of 224x224, replaces the network that data/make_lists.py chooses. The program
makes lists of the folder, and times train.py with TRAIN.freeze_stages=5 and ten views, and predict.py over as many
videos as train.py computes features of. The exit code is 1 if training takes over 1.5 times predict.py's time plus 20
s.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from utils.cli import run
from utils.errors import RunError
from utils.storage.files import write_text

VIEWS = 10
NETWORK = "--set MODEL.name=TSN --set MODEL.backbone=resnet --set MODEL.seg_num=3".split()
MOST_TIMES, MOST_SECONDS = 1.5, 20.0
OUT = common.RESULTS / "own_classes"


def timed(script: str, *flags: str) -> float:
    """Run a script and return its seconds."""
    start = time.perf_counter()
    ended = subprocess.run([sys.executable, script, *flags], cwd=ways.ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise RunError(f"{script}: {ended.stderr.splitlines()[-1]}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="clips, a folder for each class")
    parser.add_argument("--views", type=int, default=VIEWS, help="of each training clip (default: %(default)s)")
    args = parser.parse_args()
    machine = common.describe_machine()
    common.print_machine(machine)
    ways.make_weights()
    shutil.rmtree(OUT, ignore_errors=True)
    os.environ["PADDLE_TSN_CACHE"] = str(OUT / "cache")  # an empty cache for both scripts
    timed("data/make_lists.py", f"--videos={args.folder}", f"--out={OUT}", "--split", "0.8", "0.2", "0")
    config, lists = f"--config={OUT / 'config.yaml'}", {name: read(OUT / f"{name}.list") for name in ("train", "val")}
    videos = args.views * lists["train"] + lists["val"]
    write_text(OUT / "as_many.list", "".join(f"{line.rpartition(' ')[0]}\n" for line in videos))
    sets = [*NETWORK, "--set", "TRAIN.freeze_stages=5", "--set", f"TRAIN.feature_views={args.views}"]
    train = timed("train.py", config, f"--pretrain={ways.WEIGHTS}", "--use_gpu=False", *sets)
    best = OUT / "checkpoints" / "TSN_best.pdparams"
    weights = [f"--weights={best}", f"--filelist={OUT / 'as_many.list'}", "--log_interval=1000000", *NETWORK]
    predict = timed("predict.py", config, *weights, "--use_gpu=False", f"--save_dir={OUT / 'predicted'}")
    clips = (
        f"{len(lists['train'])} clips to train on, {args.views} views each, and {len(lists['val'])} to validate with"
    )
    print(f"{clips}: train.py took {train:.0f} s, predict.py over {len(videos)} videos {predict:.0f} s")
    print(f"beyond predict.py's time: {train - predict:.0f} s ({train / predict:.2f} times)")
    content = {"machine": machine, "videos": len(videos), "train": train, "predict": predict}
    print(f"\nwritten to {common.write_results('own_classes', content)}")
    if train > MOST_TIMES * predict + MOST_SECONDS:
        raise RunError(f"more than {MOST_TIMES} times predict.py's time and {MOST_SECONDS:.0f} s")


def read(path: Path) -> list[str]:
    """Return the lines of a list."""
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


if __name__ == "__main__":
    run(main)
