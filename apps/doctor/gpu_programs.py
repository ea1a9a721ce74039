"""Run a trial of `bash run.sh doctor --gpu`: python apps/doctor/gpu_programs.py NAME FLAGS.

The flags are those of train.py. The last line of stdout is the result in JSON.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file
from apps.doctor.clips import write_video
from apps.doctor.programs import epoch
from training.environment import set_environment
from utils.cli import run
from utils.config.flags import Flags, parse_flags
from utils.config.loading import Config, load_config
from utils.errors import RunError
from utils.processes.device import choose_device, memory_errors, use_device
from utils.processes.launch import start_ranks
from utils.processes.ranks import World, join_ranks

STEPS = 41
VIDEOS, FRAMES = 8, 250  # clips of 10 s
REDUCED = (1, 16, 98)  # MB; the last is the size that ResNet-50 sums in every step
ROUNDS = 5


def clips(flags: Flags, config: Config) -> dict:
    """Write a TRAIN list for an epoch of STEPS steps, its few videos of moving pictures, and few.list."""
    path, height = Path(config.train.filelist), config.train.short_size
    shape = height, height * 4 // 3 // 2 * 2
    for number in range(VIDEOS):
        coarse = np.random.default_rng(number).integers(0, 256, (height // 8, shape[1] // 8 + 1, 3), dtype=np.uint8)
        picture = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, : shape[1]]
        # Key frames at x264's default distance.
        write_video(path.with_name(f"{number}.mp4"), (np.roll(picture, i, axis=1) for i in range(FRAMES)), shape, 250)
    lines = [f"{path.with_name(f'{number}.mp4')} {number}\n" for number in range(VIDEOS)]
    path.with_name("few.list").write_text("".join(lines))
    path.write_text("".join(islice(cycle(lines), STEPS * config.train.batch_size)))
    return {}


def memory(flags: Flags, config: Config) -> dict:
    """Return images/s of training steps on frames in memory, and the peak GB of GPU memory."""
    import paddle

    device = device_of(config)
    _, rate = trained(config, device)
    peak = paddle.device.cuda.max_memory_allocated() / 1e9 if device == "gpu" else None
    return {"images_per_second": rate, "gigabytes": peak}


def copies(flags: Flags, config: Config) -> dict:
    """Return images/s if batches are copied during the previous step.

    Raises RunError if losses or weights differ by a bit from those with blocking copies.
    """
    device = device_of(config)
    first, _ = trained(config, device, seeded=True, blocking=True)
    second, slow = trained(config, device, seeded=True, blocking=True)
    found, rate = trained(config, device, seeded=True)
    if first != second:
        return {"result": "not checked", "text": "even two runs with blocking copies differ"}
    if found != first:
        raise RunError("asynchronous copies lead to other weights than blocking copies")
    return {"images_per_second": rate, "text": f"the same bits as with blocking copies at {slow:.1f} images/s"}


def trained(config: Config, device: str, seeded: bool = False, blocking: bool = False) -> tuple[str, float]:
    """Return (digest of losses and weights, images/s) of STEPS steps of train.py's loop on random frames."""
    import paddle

    from models import build_model, section_model
    from training.amp import Amp
    from training.recipe import build_optimizer

    train = config.train
    paddle.seed(0)
    amp = Amp(train, device, seeded)
    model = build_model(section_model(config.model, train), data_format="NHWC" if train.channels_last else "NCHW")
    model, optimizer = amp.prepare(model, build_optimizer(model, train))
    if blocking:
        amp.device = "cpu"  # batches are then copied as tensors are made, and Paddle waits for each copy
    losses, seconds = epoch(model, optimizer, amp, World(), noise(config), train.batch_size, STEPS)
    numbers = [losses, *(weight.numpy() for weight in model.state_dict().values())]
    digest = sha256(b"".join(values.tobytes() for values in numbers)).hexdigest()
    return digest, train.batch_size * train.seg_num / seconds


def noise(config: Config) -> Iterator:
    """Yield STEPS batches; consecutive ones differ."""
    from reader.loader import Batch

    train, random = config.train, np.random.default_rng(0)
    shape = train.batch_size, train.seg_num, train.image_size, train.image_size, 3 * train.seglen
    labels = np.arange(train.batch_size) % config.model.num_classes
    few = [Batch(random.integers(0, 256, shape, dtype=np.uint8), labels, []) for _ in range(4)]
    return islice(cycle(few), STEPS)


def all_reduce(flags: Flags, config: Config) -> dict | None:
    """Return the GB that each rank sends per second while tensors are summed over all ranks; None except on rank 0.

    For n ranks, 2 * (n - 1) / n of a tensor counts, as in NVIDIA's nccl-tests. Raises RunError for a wrong sum.
    """
    start_ranks(flags.nproc, config.train.use_gpu)
    world = join_ranks(device_of(config))

    import paddle

    from models.transfer import wait_for_gpu

    rates = []
    for size in REDUCED:
        tensor = paddle.ones([size * 250_000])
        paddle.distributed.all_reduce(tensor)
        if (tensor != world.size).any():
            raise RunError(f"a sum over {world.size} processes is not {world.size}")
        wait_for_gpu()
        world.all_gather(None)
        begun = time.perf_counter()
        for _ in range(ROUNDS):
            paddle.distributed.all_reduce(tensor)
        wait_for_gpu()
        seconds = (time.perf_counter() - begun) / ROUNDS
        rates.append(f"{size} MB: {2 * (world.size - 1) / world.size * size / 1000 / seconds:.2f} GB/s")
    return {"text": ", ".join(rates)} if world.is_main else None


def device_of(config: Config) -> str:
    """Return the device that the flags ask for, after making it Paddle's device."""
    device = choose_device(config.train.use_gpu, config.demands_gpu)
    use_device(device)
    return device


PROGRAMS: Mapping = {function.__name__: function for function in (clips, memory, copies, all_reduce)}


def main() -> None:
    name, *words = sys.argv[1:]
    flags = parse_flags("train", words)
    config = load_config(flags.config, flags.section_overrides, flags.sets)
    set_environment()
    with memory_errors("gpu", "a smaller TRAIN.batch_size needs less"):
        found = PROGRAMS[name](flags, config)
    if found is not None:
        print(json.dumps(found))


if __name__ == "__main__":
    run(main)
