"""Train and test a configuration several times, and report how much the results vary.

    python tools/repeat.py --config=data/dataset/mine/config.yaml --seeds=5
    python tools/repeat.py --config=data/dataset/mine/config.yaml --folds=5

Each run is a train.py and an eval.py, with its own TRAIN.seed, or with the lists that data/make_lists.py --folds wrote
beside TRAIN's list. Run the same command again to resume. The folder --out gets repeat.json, report.html and a folder
for each run.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import documented_parser, out_folder, several
from metrics.repeated import MOST, Repeated
from metrics.sums import wilson
from results.pages.extras import wants_report
from results.pages.repetition import write_repetition_page
from tools.repeated_runs import plan_runs
from utils.cli import run
from utils.log import say
from utils.storage.files import write_text
from utils.storage.lock import locked_folder


def summary(done: Sequence[dict], folds: bool) -> dict:
    """Return the contents of repeat.json from the figures of at least 2 runs."""
    found = Repeated([one["top1_acc"] for one in done])
    right, videos = (sum(one[key] for one in done) for key in ("right", "videos"))
    pooled = {"right": right, "videos": videos, "top1_acc": 100 * right / videos, "interval": wilson(right, videos)}
    return {
        "mean": found.mean,
        "deviation": found.deviation,
        "interval": found.interval,
        **({"every_video_once": pooled} if folds else {}),
        "protocol": "; ".join(dict.fromkeys(one["protocol"] for one in done)),
        "runs": list(done),
    }


def lines(whole: dict) -> list[str]:
    """Return the last lines for the screen."""
    videos = sorted({one["videos"] for one in whole["runs"]})
    of = " to ".join(map(str, dict.fromkeys((videos[0], videos[-1]))))
    unreadable = sum(one["unreadable"] for one in whole["runs"])
    low, high = whole["interval"]
    said = [f"  {one['name']}: top-1 {one['top1_acc']:.2f} of {one['videos']} videos" for one in whole["runs"]]
    said.append(
        f"top-1 of {len(whole['runs'])} runs: mean {whole['mean']:.2f}, standard deviation {whole['deviation']:.2f}, "
        f"95% interval of the mean {low:.2f} to {high:.2f}; {of} videos in each, unreadable in all: {unreadable}"
    )
    if pooled := whole.get("every_video_once"):
        low, high = pooled["interval"]
        share = f"{pooled['right']} of {pooled['videos']} right, {pooled['top1_acc']:.2f}"
        said.append(f"every video once: {share}, 95% interval {low:.2f} to {high:.2f}")
    return [*said, f"protocol: {whole['protocol']}"]


def left(done: Sequence[dict], runs: int) -> str:
    """Return in words how long the remaining runs take; "" before the first is done."""
    if not done:
        return ""
    # The first run may compute features for all others, so it says little about them.
    seconds = statistics.fmean(one["seconds"] for one in done[1:] or done) * (runs - len(done))
    time = f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
    time = f"{seconds:.0f} s" if seconds < 100 else time
    return f"; about {time} left for all"


def main() -> None:
    parser = documented_parser("tools/repeat.py", __doc__)
    add, number = parser.add_argument, several(MOST)
    add("--config", required=True, metavar="YAML", help="configuration of train.py and eval.py")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=number, metavar="N", help=f"a run for each TRAIN.seed from 1 to N, 2 to {MOST}")
    which.add_argument("--folds", type=number, metavar="K", help=f"a run for each of K folds, 2 to {MOST}")
    add("--set", action="append", default=[], metavar="SECTION.key=value", help="a key for all runs; repeatable")
    add("--out", type=out_folder, metavar="DIR", default=Path("data/repeat_results"), help="default: %(default)s")
    args = parser.parse_args()
    with locked_folder(args.out, f"--out {args.out}"):
        planned = plan_runs(args.config, args.out, args.seeds, args.folds, args.set)
        known = [one.known() for one in planned]
        done = [figures for figures in known if figures]
        if done:
            say(f"{args.out}: {len(done)} of {len(planned)} runs are done already")
        for number, (one, figures) in enumerate(zip(planned, known), start=1):
            if not figures:
                say(f"run {number} of {len(planned)}, {one.name}{left(done, len(planned))}")
                # Folds have different lists, and so different features.
                done.append(one.make([each for each in planned if each.known()] if args.seeds else []))
        done = [one.known() or {} for one in planned]  # in order
        whole = summary(done, bool(args.folds))
        write_text(args.out / "repeat.json", json.dumps(whole, indent=1) + "\n")
        if wants_report(None):
            write_repetition_page(args.out / "report.html", whole)
    print(*lines(whole), f"written to {args.out}", sep="\n")


if __name__ == "__main__":
    run(main)
