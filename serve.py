"""A page to drop a video on, and an endpoint that names its classes.

    python serve.py --config=./configs/tsn.yaml --weights=TSN.pdparams

http://127.0.0.1:8000 is the page, POST /api/predict the endpoint, /docs says more.
"""

from utils.cli import run
from utils.config.session import announce, open_config

# As many videos are to come as make a process per core worth its start.
ENDLESS = 1_000_000


def main() -> None:
    flags, config = open_config("serve")

    from serving.packages import check_packages

    check_packages()

    from inference.api import Classifier
    from serving.limits import Limits
    from serving.server import check_address, open_socket, serve

    check_address(flags.host, flags.token)
    with open_socket(flags.host, flags.port) as listener:
        classifier = Classifier(config, num_videos=ENDLESS)
        announce(flags, config)
        serve(
            classifier, Limits(flags.max_upload_mb * 10**6, flags.max_seconds, flags.max_waiting), listener, flags.token
        )


if __name__ == "__main__":
    run(main)
