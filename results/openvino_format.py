"""Write model.xml and model.bin for export.py --format=openvino, float32 or int8, for programs with OpenVINO alone."""

from pathlib import Path

import numpy as np
import paddle

from inference.engine import settings
from inference.int8 import Agreement, Answer, Calibration, compare, quantise
from inference.runtime import get_core, openvino
from models.graphs.exporting import STEM, Run, difference_to, graph_shape, halfway, whole_or_not_at_all
from models.graphs.trace import GRAPH, trace_videos
from models.registry import section_model
from utils.config.loading import Config


def save_openvino(model: paddle.nn.Layer, config: Config, folder: Path) -> float | Agreement:
    """Write both files after checking them against the network's own answers. `model` is in evaluation mode.

    Return the largest difference of the probabilities on random frames, or for int8 the agreement with float32 on
    videos. The files hold the configuration as `config` of their model_info. Raises InputError or RunError.
    """
    core, shape = get_core(), graph_shape(config)
    calibration = Calibration(config, config.infer) if config.infer.precision == "int8" else None
    with whole_or_not_at_all(folder) as made, halfway(made) as traced:
        weights, file = traced / "weights.pdparams", made / f"{STEM}.xml"
        paddle.save(model.state_dict(), str(weights))
        trace_videos(section_model(config.model, config.infer), weights, shape, traced)
        graph = core.read_model(traced / GRAPH)
        if not calibration:
            _write(graph, config, file)
            return difference_to(_run(core, core.read_model(file)), model, shape, config.model.labels)
        difference_to(_run(core, graph), model, shape)
        used, others = calibration.clips()
        _write(quantise(graph, [clip[None] for clip in used]), config, file)
        exact, rounded = (_answer(_run(core, each)) for each in (graph, core.read_model(file)))
        return calibration.checked(compare(exact, rounded, others, len(used)))


def _write(graph: openvino.Model, config: Config, file: Path) -> None:
    graph.set_rt_info(config.dump(), ["model_info", "config"])
    openvino.save_model(graph, file, compress_to_fp16=False)  # the default would round float32


def _run(core: openvino.Core, graph: openvino.Model) -> Run:
    compiled = core.compile_model(graph, "CPU", settings("float32", 1, 0))
    return lambda frames: np.array(compiled(frames)[0])


def _answer(run: Run) -> Answer:
    return lambda clip: run(clip[None])[0]
