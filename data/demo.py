"""Run the demo from nothing: python data/demo.py (or bash run.sh demo, which also installs).

It makes clips, trains configs/tsn_demo.yaml on them, evaluates the held-out clips with three segments and with one, and
predicts them. Every step is a command that you can run yourself.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.make_demo import NAMES
from utils.cli import run
from utils.commands import to_type
from utils.errors import RunError

OUT = Path("data/demo/results")
CONFIG = "--config=configs/tsn_demo.yaml"
WEIGHTS = f"--weights={OUT}/checkpoints/TSN.pdparams"
STEPS = {
    "make the clips": ["data/make_demo.py"],
    "train from random weights": [
        "train.py", CONFIG, "--pretrain=none", "--fix_random_seed=True", "--use_gpu=False",
        f"--save_dir={OUT}/checkpoints",
    ],
    "evaluate the held-out clips, three segments": [
        "eval.py", CONFIG, WEIGHTS, "--use_gpu=False", f"--save_dir={OUT}/eval",
    ],
    "evaluate them again, one frame each": [
        "eval.py", CONFIG, WEIGHTS, "--use_gpu=False", "--set", "TEST.seg_num=1", f"--save_dir={OUT}/eval_1_segment",
    ],
    "predict the held-out clips": [
        "predict.py", CONFIG, WEIGHTS, "--use_gpu=False", "--infer_topk=3", "--log_interval=1000",
        f"--save_dir={OUT}/predict",
    ],
}  # fmt: skip


# Each step's share of the time, measured on two cores.
SHARES = (0.15, 0.5, 0.1, 0.1, 0.15)


def main() -> None:
    start = time.monotonic()
    for number, (title, command) in enumerate(STEPS.items(), start=1):
        done = sum(SHARES[: number - 1])
        left = f", about {(time.monotonic() - start) * (1 - done) / done:.0f} s left" if done else ""
        print(f"\n[{number}/{len(STEPS)}] {title}{left}\n$ {to_type(*command)}", flush=True)
        code = subprocess.run([sys.executable, *command]).returncode
        if code:
            raise RunError(f"step {number} ({title}) ended with exit code {code}")
    print(summary(time.monotonic() - start))


def summary(seconds: float) -> str:
    """Return the demo's results, which files it has written, and what to type next."""
    three, one = (json.loads((OUT / name / "metrics.json").read_text()) for name in ("eval", "eval_1_segment"))
    predicted = json.loads((OUT / "predict" / "predictions.json").read_text())
    named = sum("predictions" in result for result in predicted)
    rows = [
        ("3 segments", f"top-1 {three['top1_acc']:.1f}% of {three['videos']} held-out clips"),
        ("1 segment", f"top-1 {one['top1_acc']:.1f}% of {one['videos']}: one frame does not tell these classes apart"),
        ("predicted", f"{named} of {len(predicted)} clips"),
        ("", ""),
        ("data/demo/", "the clips, their lists and class names"),
        (f"{OUT}/checkpoints/", "weights, log and configuration of the training"),
        (f"{OUT}/eval/", "metrics.json, predictions.csv, confusion.csv"),
        (f"{OUT}/predict/", "predictions.json, predictions.csv"),
        ("", ""),
        *reports(),
    ]
    width = max(len(left) for left, right in rows if right)
    lines = "\n".join(f"  {left:{width}}  {right}".rstrip() for left, right in rows)
    weights, clip = f"--weights={OUT}/checkpoints", f"data/demo/test/{NAMES[0]}/{NAMES[0]}_000.mp4"
    after = {
        "the classes of one video": to_type("predict.py", weights, f"--video_path={clip}"),
        "a page to drop videos on": to_type("serve.py", weights),
        "your own classes: videos in a folder for each class, here the demo's": to_type(
            "data/make_lists.py", "--videos", "data/demo/test", "--out", "data/dataset/mine"
        ),
    }
    next_commands = "\n".join(f"  {what}:\n    {command}" for what, command in after.items())
    found = f"Done in {seconds:.0f} s. On clips the network has never seen:\n{lines}"
    return f"\n{found}\n\nWhat to type now:\n{next_commands}"


def reports() -> list[tuple[str, str]]:
    """Return the pages to look at, or how to get them."""
    names = {"checkpoints": "how it was trained", "eval": "what it knows", "predict": "what it answers"}
    pages = [(f"{OUT}/{name}/report.html", about) for name, about in names.items()]
    there = [page for page in pages if Path(page[0]).exists()]
    return there or [("report.html", "none: run pip install -r requirements-extras.txt and the demo again")]


if __name__ == "__main__":
    run(main)
