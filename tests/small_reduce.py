"""apps/doctor/gpu_programs.py with small tensors for its all_reduce: python small_reduce.py NAME FLAGS."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from apps.doctor import gpu_programs
from utils.cli import run

if __name__ == "__main__":
    gpu_programs.REDUCED = 1, 2, 4
    run(gpu_programs.main)
