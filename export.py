"""Writes the network as a folder for inference: python export.py --config=./configs/tsn.yaml --weights=TSN.pdparams

The graph takes uint8 frames [N, T, H, W, 3 * seglen] (T, H and W as INFER has them) and returns probabilities [N, K].
Writes to --save_dir: model.json (the graph), model.pdiparams (its weights), weights.pdparams (the same by name, for
predict.py and eval.py) and config.yaml.
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

    from inference.exported import save_exported
    from inference.network import describe_weights, load_model, published_weights, weights_digest
    from models import section_model
    from models.weights.files import find_weights

    path = find_weights(section.weights or published_weights(config.model))
    model = load_model(section_model(config.model, section), path)
    announce(flags, config)
    folder = make_save_dir(flags.save_dir)
    save_exported(model, config, folder)
    shape = f"[N, {section.seg_num}, {section.image_size}, {section.image_size}, {3 * section.seglen}]"
    interface = f"uint8 frames {shape} in, probabilities [N, {config.model.num_classes}] out"
    where = publish(folder, flags.save_dir)
    say(f"exported {describe_weights(path, weights_digest(path))} to {where}: {interface}")


if __name__ == "__main__":
    run(main)
