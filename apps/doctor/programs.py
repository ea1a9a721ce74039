"""Run one way in a process of its own: python apps/doctor/programs.py NAME FOLDER.

NAME is a way in apps/doctor/ways.py. The numbers go to FOLDER/NUMBER.npz, the rest to FOLDER/NUMBER.json.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file
from apps.doctor.clips import SIZE, clips, write_list, write_video
from apps.doctor.ways import WAYS
from training.environment import set_environment
from utils.cli import run
from utils.errors import RunError

ROOT = Path(__file__).resolve().parents[2]
CLASSES, VIDEOS = 8, 8
WEIGHTS = "weights.pdparams"
# Videos per timed step; a GPU needs many to be busy.
TIMED_VIDEOS = {"cpu": 4, "gpu": 256}
# Batches that are copied to the device one after the other.
COPIES = 40
# One of this many numbers of a weight is compared.
STRIDE = 97
PADDLE = "paddle"

Numbers = dict[str, np.ndarray]


def read(folder: Path, decoder: str) -> tuple[Numbers, None]:
    """Write a clip of known frames, and let a reader process read it. Raises RunError if the frames differ."""
    from reader.clip import ClipSpec
    from reader.filelist import Entry
    from reader.loader import Loader

    levels, path = [60, 120, 180], folder / f"{decoder}.mp4"
    pictures = np.full((12, 72, 96, 3), np.repeat(levels, 4)[:, None, None, None], np.uint8)
    write_video(path, pictures, (72, 96))
    spec = ClipSpec(num_segments=3, seglen=1, short_side=72, crop_size=SIZE, decoder=decoder)
    with Loader([Entry(str(path))], spec, 1, num_classes=None, num_workers=1) as loader:
        [batch] = loader.batches()
    if batch.unreadable:
        raise RunError(f"the clip cannot be read: {batch.unreadable[0][1]}")
    found = batch.frames[0].mean(axis=(1, 2, 3))  # [T, H, W, 3] -> [T]
    if np.abs(found - levels).max() > 4:
        raise RunError(f"wrong frames: their levels are {found.round(1).tolist()}, expected {levels}")
    return {}, None


def predict_eager(folder: Path) -> tuple[Numbers, float]:
    """Return (logits of Paddle's own kernels in float32, images/s)."""
    from inference.eager import eager_start
    from models.weights.fitting import load_weights
    from utils.processes.device import use_device

    use_device("cpu")
    model = new_model()
    load_weights(model, folder / WEIGHTS)
    model.eval()
    return answers(lambda frames: eager_start(model)(frames)().logits, "cpu")


def predict(folder: Path, device: str = "cpu", precision: str = "float32", videos: int = 1) -> tuple[Numbers, float]:
    """Return (logits, images/s) as predict.py computes them for this many videos."""
    from inference.network import load_network
    from utils.config.loading import load_config
    from utils.processes.device import choose_device

    choose_device(device == "gpu", demanded=device == "gpu")
    keys = {
        "MODEL.num_layers": 18, "MODEL.num_classes": CLASSES, "MODEL.seg_num": 1, "INFER.short_size": SIZE,
        "INFER.target_size": SIZE, "INFER.precision": precision, "INFER.weights": str(folder / WEIGHTS),
    }  # fmt: skip
    if precision == "int8":  # the network is untrained, so top-1 agreement means nothing
        keys |= {"INFER.calibration": str(write_list(folder, 2 * VIDEOS)), "INFER.int8_agreement": 0.0}
    config = load_config(ROOT / "configs" / "tsn.yaml", keys)
    return answers(load_network(config, config.infer, device, videos), device)


def answers(network: Callable[[np.ndarray], np.ndarray], device: str) -> tuple[Numbers, float]:
    """Return (logits, images/s) of a network, float32 [N, K], on clips."""
    numbers = {"logits": network(clips(VIDEOS, 1))}
    frames = clips(TIMED_VIDEOS[device], 2)
    network(frames)
    start = time.perf_counter()
    network(frames)
    return numbers, len(frames) / (time.perf_counter() - start)


def new_model(**options: object):
    import paddle

    from models.tsn import TSN

    paddle.seed(0)
    return TSN(CLASSES, num_layers=18, **options)


def train(folder: Path, device: str = "gpu", processes: int = 1, **keys: object) -> tuple[Numbers, float] | None:
    """Return (the results of two steps of train.py's loop, images/s), or None except on rank 0.

    The results are "losses" float64 [2], "changes" float32 [M] of weights by the first step, and "norms" [P], the
    length of each parameter's change. processes: at most this many; on GPUs one for each. keys: of TRAIN.
    """
    from utils.config.train_keys import TrainConfig
    from utils.processes.device import choose_device, use_device
    from utils.processes.launch import start_ranks
    from utils.processes.ranks import join_ranks

    on_gpu = device == "gpu"
    if processes > 1:
        start_ranks(None if on_gpu else processes, on_gpu, processes)
    use_device(choose_device(on_gpu, demanded=on_gpu))
    world = join_ranks(device)

    import paddle

    from models.weights.fitting import load_weights
    from training.amp import Amp
    from training.cpu_engine import set_engine
    from training.recipe import build_optimizer

    config = TrainConfig(learning_rate=0.0005, **keys)
    # The default of 65536 may overflow in the first steps, which would then be skipped.
    amp = Amp(config, device, seeded=False, loss_scale=128.0)
    model = new_model(data_format="NHWC" if config.channels_last else "NCHW")
    if config.sync_batch_norm:
        model = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    load_weights(model, folder / WEIGHTS)
    model, optimizer = amp.prepare(model, build_optimizer(model, config))
    if set_engine(model, config.engine, device) != config.engine and not on_gpu:
        raise RunError(f"this Paddle has no engine {config.engine}")
    before = weights(model, optimizer)
    first, _ = epoch(model, optimizer, amp, world, batches(VIDEOS, 1, world), VIDEOS, 1)
    changes = [new - old for new, old in zip(weights(model, optimizer), before)]
    second, _ = epoch(model, optimizer, amp, world, batches(VIDEOS, 1, world), VIDEOS, 1)
    timed = TIMED_VIDEOS[device] * (world.size if on_gpu else 1)
    steps = 8 if on_gpu else 3
    _, seconds = epoch(model, optimizer, amp, world, batches(timed, steps, world), timed, steps)
    if not world.is_main:
        return None
    numbers = {
        "losses": np.concatenate([first, second]),
        "norms": np.array([np.linalg.norm(change) for change in changes]),
        "changes": np.concatenate(changes),
    }
    return numbers, timed / seconds


def weights(model, optimizer) -> list[np.ndarray]:
    """Return float32 [M], some numbers of each trained parameter, or of the float32 copy that is stepped for it."""
    copies = optimizer.state_dict().get("master_weights", {})
    trained = [copies.get(p.name, p) for p in model.parameters() if not p.stop_gradient]
    return [p.astype("float32").numpy().ravel()[:: STRIDE if p.size > 10_000 else 1] for p in trained]


def epoch(model, optimizer, amp, world, source: Iterator, videos: int, steps: int) -> tuple[np.ndarray, float]:
    """Return (losses float64 [steps], mean seconds of all steps but the first, or 0) of steps of `videos` clips each.

    source: this process's batches.
    """
    from models.transfer import wait_for_gpu
    from training.loop import Loop, LossGuard, StepLog, Steps, train_one_epoch
    from training.recipe import Objective
    from utils.log import JsonLog

    losses, clock = [], []

    class Losses(LossGuard):
        def add(self, epoch: int, step: int, loss, videos: list[str]) -> None:
            losses.append(loss)
            super().add(epoch, step, loss, videos)

    def after_step(epoch: int, step: int) -> None:
        if step in (1, steps):
            wait_for_gpu()
            clock.append(time.perf_counter())

    with JsonLog(None) as nothing:
        loop = Loop(
            model=model, optimizer=optimizer, objective=Objective(0), amp=amp,
            steps=Steps(videos * steps, videos, 1), world=world, seed=0, log=StepLog(10**9, nothing),
            guard=Losses(world), learning_rate=lambda epoch, step: optimizer.get_lr(), video_names=lambda batch: [],
            after_batch=lambda batch: None, after_step=after_step,
        )  # fmt: skip
        train_one_epoch(loop, source, 0, 0)
    of_ranks = world.all_gather([float(loss) for loss in losses])
    return np.sum(of_ranks, axis=0), (clock[-1] - clock[0]) / max(1, steps - 1)


def batches(videos: int, number: int, world) -> Iterator:
    """Yield this process's part of batches of `videos` clips, the same in every call."""
    from reader.loader import Batch

    for seed in range(number):
        mine = world.shard(range(videos), videos)
        frames = clips(videos, 10 + seed)[mine]
        yield Batch(frames, np.array([i % CLASSES for i in mine], np.int64), mine)


def copies(folder: Path, device: str = "gpu") -> tuple[Numbers, float]:
    """Return ({}, images/s) of batches copied to the device during computation. Raises RunError if one changes."""
    import paddle

    from training.amp import on_device
    from utils.processes.device import choose_device, use_device
    from utils.processes.ranks import World

    use_device(choose_device(device == "gpu", demanded=device == "gpu"))
    videos = TIMED_VIDEOS[device]
    sent = list(batches(videos, COPIES, World()))
    work, arrived = paddle.ones([1024, 1024]), []
    start = time.perf_counter()
    for _, frames, labels, _ in on_device(((batch, 0.0) for batch in sent), device):
        work = paddle.matmul(work, work) / 1024  # long enough for the copies to overtake it
        arrived.append((frames.astype("int64").sum(axis=[1, 2, 3, 4]), labels))
    sums = [(frames.numpy(), labels.numpy()) for frames, labels in arrived]
    seconds = time.perf_counter() - start
    for i, (batch, (frames, labels)) in enumerate(zip(sent, sums)):
        if (frames != batch.frames.sum(axis=(1, 2, 3, 4), dtype=np.int64)).any() or (labels != batch.labels).any():
            raise RunError(f"batch {i} of {COPIES} was changed by the copy to the device")
    return {}, videos * COPIES / seconds


def describe_paddle(folder: Path) -> dict[str, object]:
    """Write the network that all ways compute, and return what Paddle reports about itself and its devices.

    The network's BatchNorm has the statistics of some clips; with random weights alone it would magnify rounding.
    """
    import paddle

    from training.amp import batch_norms
    from utils.processes.device import CAPABILITIES, gpu_has

    number = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    gpus = [paddle.device.cuda.get_device_properties(i) for i in range(number)]
    if gpus:
        paddle.set_device("gpu")
    has = {f"gpu_{dtype}": bool(gpus) and gpu_has(dtype) for dtype in CAPABILITIES}
    paddle.set_device("cpu")
    model = new_model()
    model.train()
    for layer in batch_norms(model):
        layer._momentum = 0.0
    with paddle.no_grad():
        model(paddle.to_tensor(clips(VIDEOS, 0)))
    paddle.save(model.state_dict(), str(folder / WEIGHTS))
    return {
        "version": paddle.__version__,
        "cuda": paddle.version.cuda() if paddle.is_compiled_with_cuda() else "",
        "cudnn": paddle.version.cudnn(),
        "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GB, capability {gpu.major}.{gpu.minor}" for gpu in gpus],
        **has,
    }


PROGRAMS = {function.__name__: function for function in (read, predict_eager, predict, train, copies)}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    os.environ["PADDLE_TSN_CACHE"] = str(folder / "cache")
    if name == PADDLE:
        (folder / f"{PADDLE}.json").write_text(json.dumps(describe_paddle(folder)))
        return
    number, way = next((number, way) for number, way in enumerate(WAYS) if way.name == name)
    if way.program == "train":
        set_environment()
    result = PROGRAMS[way.program](folder, **way.options)
    if result is not None:  # None except on rank 0
        numbers, images_per_second = result
        np.savez(folder / f"{number}.npz", **numbers)
        (folder / f"{number}.json").write_text(json.dumps(images_per_second))


if __name__ == "__main__":
    run(main)
