"""Writes a network as a folder for inference: `python export.py --config=./configs/tsn.yaml --weights=TSN.pdparams`.

The graph takes uint8 frames [N, T, H, W, 3 * seglen] (T, H and W as INFER has them) and returns probabilities [N, K];
before it is written, its answers are compared with the network's. To --save_dir, with --format=paddle: model.json (the
graph), model.pdiparams (its weights), weights.pdparams (the same by name, for predict.py and eval.py) and config.yaml;
with --format=onnx: model.onnx; with --format=openvino: model.xml and model.bin, with --precision=int8 in int8.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH=1
from utils.cli import run
from utils.config.session import open_config


def main() -> None:
    flags, config = open_config("export")

    from utils.errors import InputError
    from utils.log import say
    from utils.storage.files import check_save_dir, publish, written_to
    from utils.storage.lock import locked_folder

    section = config.infer
    if section.precision == "int8" and flags.format != "openvino":
        raise InputError(f"--precision=int8 is for --format=openvino; {flags.format} is written in float32")
    check_save_dir(flags.save_dir)
    try:
        flags.save_dir.encode()
    except UnicodeEncodeError:
        raise InputError(f"--save_dir={flags.save_dir}: the libraries that write there need a name in UTF-8") from None

    from utils.processes.device import choose_device, use_device

    choose_device(section.use_gpu, config.demands_gpu)
    use_device("cpu")  # a GPU's convolutions round to TF32: too much for the comparison with other runtimes

    from inference.announcing import announce_network
    from inference.finding import check_manifest, describe_weights, original_weights, weights_digest
    from models import section_model
    from models.graphs.exporting import FORMATS, check_packages, graph_shape
    from models.weights.exported import write_thresholds
    from models.weights.fitting import load_model
    from models.weights.paths import find_weights
    from results.openvino_format import save_openvino

    check_packages(flags.format)
    kept = "int8" if section.precision == "int8" else "float32"
    path = find_weights(section.weights or original_weights(config.model))
    network, sha256 = section_model(config.model, section), weights_digest(path)
    thresholds = check_manifest(config, network, path, sha256)
    model = load_model(network, path)
    announce_network(flags, config, section, "", describe_weights(path, sha256), kept)
    folder = written_to(flags.save_dir)
    with locked_folder(folder, f"--save_dir={flags.save_dir}"):
        compared = {**FORMATS, "openvino": save_openvino}[flags.format](model, config, folder)
        if section.precision == "int8":
            say(f"compared with the network in float32: {compared}")
        else:
            say(f"compared with the network on random frames: its probabilities differ by {compared:.1g} at most")
        if thresholds:
            write_thresholds(folder, config, thresholds)
        where = publish(folder, flags.save_dir)
    shape = str(graph_shape(config)).replace("None", "N")
    interface = f"uint8 frames {shape} in, probabilities [N, {config.model.num_classes}] out"
    say(f"exported to {where}: {interface}")


if __name__ == "__main__":
    run(main)
