"""A script that rests when its journal has what is named, for a signal to find it there: python resting.py FLAGS.

TSN_TEST_SCRIPT names the script, and TSN_TEST_REST a text and how often it must stand in the journal. Each process of
a run rests over its own one. TSN_TEST_REST_IN names the folder of a single network of several.
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
