"""Writes the network as a folder for inference: python export.py --config=./configs/tsn.yaml --weights=TSN.pdparams

The graph takes uint8 frames [N, T, H, W, 3 * seglen] (T, H and W as INFER has them) and returns probabilities [N, K];
before it is written, its answers are compared with the network's. To --save_dir, with --format=paddle: model.json (the
graph), model.pdiparams (its weights), weights.pdparams (the same by name, for predict.py and eval.py) and config.yaml;
with --format=onnx: model.onnx.
"""

from utils.cli import run
from utils.config.session import announce, open_config


def main() -> None:
    flags, config = open_config("export")

    from utils.files import check_save_dir, make_save_dir, publish
    from utils.log import say

    section = config.infer
    check_save_dir(flags.save_dir)

    from utils.processes.device import choose_device

    choose_device(section.use_gpu, config.demands_gpu)

    import paddle

    from inference.formats import FORMATS, check_packages, graph_shape
    from inference.network import describe_weights, load_model, published_weights, weights_digest
    from models import section_model
    from models.weights.files import find_weights

    paddle.set_device("cpu")  # a GPU's convolutions round to TF32: too much for the comparison with other runtimes
    check_packages(flags.format)
    path = find_weights(section.weights or published_weights(config.model))
    model = load_model(section_model(config.model, section), path)
    announce(flags, config)
    folder = make_save_dir(flags.save_dir)
    difference = FORMATS[flags.format](model, config, folder)
    say(f"compared with the network on random frames: its probabilities differ by {difference:.1g} at most")
    shape = str(graph_shape(config)).replace("None", "N")
    where = publish(folder, flags.save_dir)
    interface = f"uint8 frames {shape} in, probabilities [N, {config.model.num_classes}] out"
    say(f"exported {describe_weights(path, weights_digest(path))} to {where}: {interface}")


if __name__ == "__main__":
    run(main)
