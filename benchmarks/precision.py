"""What bfloat16 changes: `python benchmarks/precision.py`, after `bash run.sh demo`.

The demo's trained network on its held-out clips: predict.py in float32 and in bfloat16, every class of every clip
compared. INFER.precision=auto may mean bfloat16 only while top-1 agrees on 99% of them and no probability moves by
more than 0.03; this ends with exit code 1 where it does not.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common
from utils.cli import run
from utils.errors import InputError, RunError

LEAST_AGREEMENT, LARGEST_DIFFERENCE = 0.99, 0.03  # what `auto` may cost


def probabilities(weights: str, precision: str) -> tuple[list[str], np.ndarray]:
    """(videos, probabilities [N, K]) that predict.py writes for the demo's held-out clips."""
    folder = common.RESULTS / f"precision_{precision}"
    command = [
        "predict.py",
        "--config=configs/tsn_demo.yaml",
        f"--weights={weights}",
        "--use_gpu=False",
        "--infer_topk=8",
    ]
    command += [f"--precision={precision}", "--log_interval=1000000", f"--save_dir={folder}"]
    subprocess.run([sys.executable, *command], cwd=Path(__file__).parents[1], check=True, stdout=subprocess.DEVNULL)
    results = json.loads((folder / "predictions.json").read_text())
    rows = [[p["probability"] for p in sorted(r["predictions"], key=lambda p: p["class_id"])] for r in results]
    return [r["video"] for r in results], np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="data/demo/results/checkpoints/TSN.pdparams", help="default: the demo's")
    weights = parser.parse_args().weights
    if not Path(weights).exists():
        raise InputError(f"{weights}: not there; `bash run.sh demo` makes it")
    machine = common.describe_machine()
    common.print_machine(machine)
    videos, exact = probabilities(weights, "float32")
    _, rounded = probabilities(weights, "bfloat16")
    agreement = float((exact.argmax(axis=1) == rounded.argmax(axis=1)).mean())
    difference = float(np.abs(exact - rounded).max())
    header = ["videos", "top-1 agrees", "largest difference of a probability"]
    common.print_table(header, [[str(len(videos)), f"{100 * agreement:.1f}%", f"{difference:.5f}"]])
    content = {
        "machine": machine,
        "weights": weights,
        "videos": len(videos),
        "agreement": agreement,
        "difference": difference,
    }
    print(f"\nwritten to {common.write_results('precision', content)}")
    if agreement < LEAST_AGREEMENT or difference > LARGEST_DIFFERENCE:
        raise RunError("bfloat16 changes more than `auto` may")


if __name__ == "__main__":
    run(main)
