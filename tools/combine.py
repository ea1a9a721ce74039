"""Average the class probabilities of several networks, from folders of eval.py, without running a network again.

    python tools/combine.py runs/tsn*2 runs/tsm --out runs/both

counts runs/tsn twice. The program prints the accuracy of the mean (with many labels the mAP) beside those of the
networks, and whether the mean is better than the best network by more than chance. The folder --out gets the files of
eval.py, for further comparison.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import evaluated_runs
from results.combining import combine
from results.pages.extras import wants_report
from utils.cli import run
from utils.config.weights_flag import factor_of
from utils.storage.lock import locked_folder


def main() -> None:
    args = evaluated_runs("tools/combine.py", __doc__, "RUN[*FACTOR]", "data/combine_results")
    combination = combine(*zip(*map(factor_of, args.runs)))
    print(combination.said())
    out = args.out
    with locked_folder(out, f"--out {out}"):
        combination.write(out, wants_report(None))
    print(f"written to {out}")


if __name__ == "__main__":
    run(main)
