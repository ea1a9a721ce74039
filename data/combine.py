"""Takes the mean of what several networks say of each class, from folders of eval.py: no network is run again.

    python data/combine.py runs/tsn*2 runs/tsm --out runs/both

counts runs/tsn twice as much. Prints the accuracy of the mean, beside each one's own, and whether it is better than the
best of them by more than chance. The folder --out gets what eval.py writes, to be compared and combined again.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import out_folder
from results.combining import combine
from results.pages.extras import wants_report
from utils.cli import run
from utils.config.flags import Parser
from utils.config.weights_flag import factor_of
from utils.errors import InputError
from utils.storage.lock import locked_folder


def main() -> None:
    description, _, epilog = (__doc__ or "").partition("\n\n")  # python -OO has none
    shown = {"epilog": epilog, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = Parser("data/combine.py", description, **shown)
    parser.add_argument("runs", nargs="+", metavar="RUN[*FACTOR]", help="folder that eval.py has written to")
    parser.add_argument("--out", type=out_folder, metavar="DIR", default="data/combine_results", help="folder for the "
                        "results (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    if len(args.runs) < 2:
        raise InputError("expected two or more folders that eval.py has written to")

    combination = combine(*zip(*map(factor_of, args.runs)))
    print(combination.said())
    out = Path(args.out)
    with locked_folder(out, f"--out {out}"):
        combination.write(out, wants_report(None))
    print(f"written to {out}")


if __name__ == "__main__":
    run(main)
