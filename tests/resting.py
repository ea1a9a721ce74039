"""Run a script that waits at a given point of its journal, so that a signal finds it there: python resting.py FLAGS.

TSN_TEST_SCRIPT names the script; TSN_TEST_REST is a text and how often it must stand in the journal. Each process of a
run waits at this point of its own journal. TSN_TEST_REST_IN names the network that waits, if there are several.
"""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from results.journal import Journal
from utils.cli import run

append, (text, times) = Journal.append, os.environ["TSN_TEST_REST"].rsplit(" ", 1)


def append_and_rest(journal: Journal, rows) -> None:
    append(journal, rows)
    here = os.environ.get("TSN_TEST_REST_IN", "") in journal.path.parts[-2]
    if here and journal.path.read_text().count(text) >= int(times):
        time.sleep(100)


if __name__ == "__main__":
    Journal.append = append_and_rest
    run(import_module(os.environ["TSN_TEST_SCRIPT"]).main)
