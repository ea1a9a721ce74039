"""Names what a camera or a stream shows, every few seconds, for as long as it runs.

    python live.py --config=./configs/tsn.yaml --weights=TSN.pdparams --source=0

Writes to --save_dir: live.jsonl, a line for each window, and with --save_video live.mp4.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH=1
from utils.cli import run
from utils.config.session import open_config


def main() -> None:
    flags, config = open_config("live")

    from apps.live.addresses import check_source
    from apps.live.watching import watch
    from inference.announcing import announce_network, weights_and_precision
    from inference.api import Classifier
    from reader.build import check_takes_windows
    from utils.storage.files import make_save_dir
    from utils.storage.lock import FolderLock

    check_source(flags.source)
    check_takes_windows("live.py", config.infer)
    folder = make_save_dir(flags.save_dir)
    with FolderLock(folder, f"--save_dir={flags.save_dir}"), Classifier(config) as classifier:
        announce_network(flags, config, config.infer, "", *weights_and_precision(classifier.network))
        watch(classifier, flags, folder)


if __name__ == "__main__":
    run(main)
