"""A page to drop a video on, and an endpoint that names its classes.

    python serve.py --config=./configs/tsn.yaml --weights=TSN.pdparams

http://127.0.0.1:8000 is the page, POST /api/predict the endpoint, /docs says more.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH=1
from utils.cli import run
from utils.config.session import open_config


def main() -> None:
    flags, config = open_config("serve")

    from utils.packages import import_extra

    for module, package in (("fastapi", ""), ("uvicorn", ""), ("python_multipart", "python-multipart")):
        import_extra(module, "serve.py", "requirements-serve.txt", package)

    if flags.metrics:  # told before the network is loaded
        import_extra("prometheus_client", "--metrics=True", "requirements-metrics.txt", "prometheus-client")

    from apps.serving.quotas import Limits, Options
    from apps.serving.server import check_address, check_decoder, open_socket, read_origins, read_token, serve
    from inference.announcing import announce_network, weights_and_precision
    from inference.api import ENDLESS, Classifier

    token = read_token(flags.token, flags.token_file)
    options = Options(token, read_origins(flags.allow_origin), flags.grace_seconds, flags.metrics)
    check_address(flags.host, token)
    check_decoder(config.infer.decoder)
    with open_socket(flags.host, flags.port) as listener:
        classifier = Classifier(config, num_videos=ENDLESS)
        announce_network(flags, config, config.infer, "", *weights_and_precision(classifier.network))
        limits = Limits(flags.max_upload_mb * 10**6, flags.max_seconds, flags.max_waiting)
        serve(classifier, limits, listener, options)


if __name__ == "__main__":
    run(main)
