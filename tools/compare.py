"""Compare folders of eval.py: which videos each run has right, and whether the difference could be chance.

    python tools/compare.py runs/tsn runs/tsm --out runs/compared

Only videos in all runs count. With many labels it compares the mAP. The folder --out gets comparison.csv, with each
run's prediction for each video, and report.html.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import evaluated_runs
from results.comparing import compare, is_of_many
from results.comparing_many import compare_many
from results.pages.comparison import write_comparison_page
from results.pages.comparison_many import write_many_comparison_page
from results.pages.extras import wants_report
from utils.cli import run
from utils.storage.files import write_csv
from utils.storage.lock import locked_folder


def main() -> None:
    args = evaluated_runs("tools/compare.py", __doc__, "RUN", "data/compare_results")
    many = any(map(is_of_many, args.runs))
    comparison = compare_many(args.runs) if many else compare(args.runs)
    print(comparison.said())
    out = args.out
    with locked_folder(out, f"--out {out}"):
        write_csv(out / "comparison.csv", *comparison.table())
        if wants_report(None):
            write = write_many_comparison_page if many else write_comparison_page
            write(out / "report.html", comparison)
    print(f"written to {out}")


if __name__ == "__main__":
    run(main)
