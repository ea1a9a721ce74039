"""Run a way of benchmarks/ways.py as a process: paths in by line, processor seconds of its three stages out as JSON.

`python benchmarks/way_process.py FOLDER WEIGHTS NAME` runs the code of the checkout FOLDER, which may be older. An
empty line ends it; the answer is its peak memory in MB.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    folder, weights, name = sys.argv[1:]
    sys.path[0] = folder  # replaces benchmarks/
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # for anything that the code prints

    from benchmarks import common, ways

    ways.WEIGHTS = Path(weights)
    common.pin_to_one_core()
    way = ways.WAYS[name]()
    print('"ready"', file=answers, flush=True)
    while content := sys.stdin.readline().rstrip("\n"):
        seconds = []
        for stage in (way.decode, way.crop, way.network):
            start = time.process_time()
            content = stage(content)
            seconds.append(time.process_time() - start)
        print(json.dumps(seconds), file=answers, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=answers, flush=True)


if __name__ == "__main__":
    main()
