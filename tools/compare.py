"""Compare folders of eval.py: which videos each run has right, and whether the difference could be chance.

    python tools/compare.py runs/tsn runs/tsm --out runs/compared

Only videos that all runs have count. The folder --out gets comparison.csv, a line per video with each run's prediction,
and report.html.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import evaluated_runs
from results.comparing import Comparison, compare
from results.pages.comparison import write_comparison_page
from results.pages.extras import wants_report
from utils.cli import run
from utils.storage.files import write_csv
from utils.storage.lock import locked_folder


def said(comparison: Comparison) -> str:
    """Return the lines for the screen."""
    lines = [f"{len(comparison.videos)} videos that all runs have; left out: {comparison.left_out}"]
    lines += map(comparison.said_of, comparison.runs)
    for a, b, found in comparison.pairs():
        lines += [f"{a.name} against {b.name}:", f"  {found}"]
    return "\n".join(lines)


def main() -> None:
    args = evaluated_runs("tools/compare.py", __doc__, "RUN", "data/compare_results")
    comparison = compare(args.runs)
    print(said(comparison))
    out = args.out
    with locked_folder(out, f"--out {out}"):
        header = ["video", "label", *(f"{one.name}: {what}" for one in comparison.runs for what in ("named", "right"))]
        rows = (
            [key[0], comparison.runs[0].rows[key]["label"]]
            + [value for one in comparison.runs for value in (one.rows[key]["predicted_name"], int(one.right(key)))]
            for key in comparison.videos
        )
        write_csv(out / "comparison.csv", header, rows)
        if wants_report(None):
            write_comparison_page(out / "report.html", comparison)
    print(f"written to {out}")


if __name__ == "__main__":
    run(main)
