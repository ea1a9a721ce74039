"""Fuzz the readers: `python tests/fuzz TARGET --minutes 10 --seed 1`; the target `all` runs each target in turn.

Every file depends only on (target, seed, number). Files that break a promise are named at the end and kept in --keep;
`--only NUMBER` makes and reads one file again. Linux only.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz import harness
from fuzz.targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of the one file to read")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz_findings"), help="folder for files that break a promise"
    )
    arguments = parser.parse_args()
    findings = []
    for name in TARGETS if arguments.target == "all" else [arguments.target]:
        first, last = (0, 10**9) if arguments.only is None else (arguments.only, arguments.only + 1)
        summary = harness.run(name, arguments.seed, first, last, arguments.keep, 60 * arguments.minutes)
        (seconds, slow), (memory, hungry) = summary.slowest, summary.hungriest
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(summary.outcomes.items()))
        print(f"{name}: {counts}; at most {seconds:.2f} s (file {slow}), {memory} MB (file {hungry})", flush=True)
        alike: dict[str, list[harness.Finding]] = {}
        for finding in summary.findings:
            alike.setdefault(finding.kind, []).append(finding)
        for same in alike.values():
            print(f"  {len(same)} like this: {same[0]}", flush=True)
        findings += summary.findings
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
