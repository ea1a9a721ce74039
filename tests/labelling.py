"""predict.py that rests before it renames the labelled copy of a video: python labelling.py FLAGS.

TSN_TEST_REST names the video, without its suffix. A signal then finds the copy complete under its temporary name.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import predict
from results.pages import per_video
from utils.cli import run

show_progress = per_video._show_progress


def show_and_rest(results, name: str) -> None:
    show_progress(results, name)
    if name == f"{os.environ['TSN_TEST_REST']}.labelled.mp4":
        time.sleep(100)


if __name__ == "__main__":
    per_video._show_progress = show_and_rest
    run(predict.main)
