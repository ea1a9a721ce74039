"""Takes the mean of what several networks say of each class, from folders of eval.py: no network is run again.

    python tools/combine.py runs/tsn*2 runs/tsm --out runs/both

counts runs/tsn twice as much. Prints the accuracy of the mean (of many labels the mAP), beside each one's own, and
whether it is better than the best of them by more than chance. The folder --out gets what eval.py writes, to be
compared and combined again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import evaluated_runs
from results.combining_many import combine_runs
from results.pages.extras import wants_report
from utils.cli import run
from utils.config.weights_flag import factor_of
from utils.storage.lock import locked_folder


def main() -> None:
    args = evaluated_runs("tools/combine.py", __doc__, "RUN[*FACTOR]", "data/combine_results")
    combination = combine_runs(*zip(*map(factor_of, args.runs)))
    print(combination.said())
    out = args.out
    with locked_folder(out, f"--out {out}"):
        combination.write(out, wants_report(None))
    print(f"written to {out}")


if __name__ == "__main__":
    run(main)
