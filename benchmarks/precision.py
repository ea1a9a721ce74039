"""Measure what bfloat16 and int8 change: `python benchmarks/precision.py`, after `bash run.sh demo`.

The demo's trained network predicts its held-out clips: in float32, in bfloat16 if the processor has it, and in int8 if
nncf is installed, calibrated with the training clips. Every class of every clip is compared. INFER.precision=auto may
choose bfloat16 only if top-1 agrees on 99% of the clips and no probability changes by more than 0.03; the exit code is
1 if this does not hold.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common
from utils.cli import run
from utils.errors import InputError, RunError
from utils.processor import has_bfloat16

LEAST_AGREEMENT, LARGEST_CHANGE = 0.99, 0.03  # the most that `auto` may change
CALIBRATION = "data/demo/train.list"


def probabilities(weights: str, precision: str) -> np.ndarray:
    """Return the probabilities [N, K] that predict.py writes for the demo's held-out clips."""
    folder = common.RESULTS / f"precision_{precision}"
    command = ["predict.py", "--config=configs/tsn_demo.yaml", f"--weights={weights}", "--use_gpu=False"]
    command += ["--infer_topk=8", f"--precision={precision}", "--log_interval=1000000", f"--save_dir={folder}"]
    # Allow any agreement, because the agreement is measured here.
    command += ["--restart=True", "--set", f"INFER.calibration={CALIBRATION}", "--set", "INFER.int8_agreement=0"]
    subprocess.run([sys.executable, *command], cwd=Path(__file__).parents[1], check=True, stdout=subprocess.DEVNULL)
    results = json.loads((folder / "predictions.json").read_text())
    rows = [[p["probability"] for p in sorted(r["predictions"], key=lambda p: p["class_id"])] for r in results]
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="data/demo/results/checkpoints/TSN.pdparams", help="default: the demo's")
    weights = parser.parse_args().weights
    if not Path(weights).exists():
        raise InputError(f"{weights}: not there; `bash run.sh demo` makes it")
    machine = common.describe_machine()
    common.print_machine(machine)
    available = {"bfloat16": has_bfloat16(), "int8": importlib.util.find_spec("nncf") is not None}
    exact = probabilities(weights, "float32")
    rows, found = [], {}
    for precision in (name for name, there in available.items() if there):
        rounded = probabilities(weights, precision)
        agreement = float((exact.argmax(axis=1) == rounded.argmax(axis=1)).mean())
        changes = np.abs(exact - rounded)
        found[precision] = {"agreement": agreement, "largest": float(changes.max()), "mean": float(changes.mean())}
        row = [f"{100 * agreement:.1f}%", f"{changes.max():.5f}", f"{changes.mean():.5f}"]
        rows.append([precision, str(len(exact)), *row])
    header = ["against float32", "videos", "top-1 agrees", "largest change of a probability", "mean change"]
    common.print_table(header, rows)
    content = {"machine": machine, "weights": weights, "videos": len(exact), "changes": found}
    print(f"\nwritten to {common.write_results('precision', content)}")
    bfloat16 = found.get("bfloat16", {"agreement": 1.0, "largest": 0.0})
    if bfloat16["agreement"] < LEAST_AGREEMENT or bfloat16["largest"] > LARGEST_CHANGE:
        raise RunError("bfloat16 changes more than `auto` may")


if __name__ == "__main__":
    run(main)
