"""Videos and workers that misbehave, in every process that imports this file; test_ray.py makes it sitecustomize.py.

A video's name says what happens when it is opened. A worker computes TEST_HOLD shards, and then waits in the next one
until the file TEST_GO exists.
"""

import os
import signal
import sys
import time

begun = 0  # shards


def act(event: str, arguments: tuple) -> None:
    global begun
    if event != "open" or not isinstance(arguments[0], (str, bytes)):
        return
    name = os.path.basename(os.fsdecode(arguments[0]))
    if name.startswith("hang"):
        time.sleep(1000)
    elif name.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif name.startswith("poison") and "TEST_POISON" in os.environ:
        raise RuntimeError("poisoned")
    elif name == "rows" and arguments[1] == "w" and "TEST_HOLD" in os.environ:
        begun += 1
        while begun > int(os.environ["TEST_HOLD"]) and not os.path.exists(os.environ["TEST_GO"]):
            time.sleep(0.02)


sys.addaudithook(act)
