"""The first run, from nothing: python data/demo.py (or bash run.sh demo, which also installs).

Makes clips, trains configs/tsn_demo.yaml on them, evaluates the held-out clips with three segments and with one, and
predicts them. Every step is a command that can be run by hand.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from utils.cli import run
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


def main() -> None:
    start = time.monotonic()
    for number, (title, command) in enumerate(STEPS.items(), start=1):
        print(f"\n[{number}/{len(STEPS)}] {title}\n$ python {' '.join(command)}", flush=True)
        code = subprocess.run([sys.executable, *command]).returncode
        if code:
            raise RunError(f"step {number} ({title}) ended with exit code {code}")
    print(summary(time.monotonic() - start))


def summary(seconds: float) -> str:
    """What the demo found and where it lies, read from the files that its steps wrote."""
    three, one = (json.loads((OUT / name / "metrics.json").read_text()) for name in ("eval", "eval_1_segment"))
    predicted = json.loads((OUT / "predict" / "predictions.json").read_text())
    named = sum("predictions" in result for result in predicted)
    rows = [
        ("3 segments", f"top-1 {three['top1_acc']:.1f}% of {three['videos']} held-out clips"),
        ("1 segment", f"top-1 {one['top1_acc']:.1f}% of {one['videos']}: one frame does not tell these classes apart"),
        ("predicted", f"{named} of {len(predicted)} clips"),
        ("", ""),
        ("data/demo/", "the clips, their lists and class names"),
        (f"{OUT}/checkpoints/", "weights (TSN.pdparams, TSN_best.pdparams), train_log.jsonl, config.yaml"),
        (f"{OUT}/eval/", "metrics.json, predictions.csv, confusion.csv"),
        (f"{OUT}/eval_1_segment/", "the same with one frame per clip"),
        (f"{OUT}/predict/", "predictions.json, predictions.csv"),
        ("", ""),
        *reports(),
    ]
    width = max(len(left) for left, right in rows if right)
    lines = "\n".join(f"  {left:{width}}  {right}".rstrip() for left, right in rows)
    return f"\nDone in {seconds:.0f} s. On clips the network has never seen:\n{lines}"


def reports() -> list[tuple[str, str]]:
    """The pages to look at, or how to have them."""
    names = {"checkpoints": "how it was trained", "eval": "what it knows", "predict": "what it answers"}
    pages = [(f"{OUT}/{name}/report.html", about) for name, about in names.items()]
    there = [page for page in pages if Path(page[0]).exists()]
    return there or [("report.html", "none: pip install -r requirements-extras.txt, and again")]


if __name__ == "__main__":
    run(main)
