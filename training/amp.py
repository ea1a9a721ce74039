"""Handle the differences between devices: mixed precision, memory layout, and how batches reach the device.

The GPU parts follow Paddle's documentation; they change nothing on the CPU.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import paddle

from models.transfer import Sent, send, wait_for, wait_for_gpu
from reader.loader import Batch
from training.checkpoint import set_momentum
from utils.config.train_keys import TrainConfig
from utils.errors import InputError
from utils.log import say
from utils.processes.device import CAPABILITIES, gpu_has
from utils.processes.ranks import World


def choose_amp(train: TrainConfig, device: str) -> TrainConfig:
    """Return TRAIN with `amp` resolved to "off", "O1" or "O2", after saying why "auto" is off on a GPU.

    Raises InputError for a mode that the device lacks: Paddle would only warn, and train in float32.
    """
    if device == "cpu":
        for key, asked in (("amp", train.amp not in ("auto", "off")), ("sync_batch_norm", train.sync_batch_norm),
                           ("channels_last", train.channels_last)):  # fmt: skip
            if asked:
                raise InputError(f"TRAIN.{key} needs a GPU: Paddle has no such training on the CPU")
        return replace(train, amp="off")
    if train.amp == "off":
        return train
    dtype = train.amp_dtype
    if gpu_has(dtype):
        return replace(train, amp="O1") if train.amp == "auto" else train
    lacks = f"this GPU does not have {dtype}, which begins with compute capability {CAPABILITIES[dtype]}.0"
    other = "TRAIN.amp_dtype=float16" if dtype == "bfloat16" and gpu_has("float16") else ""
    if train.amp == "auto":
        faster = f"; TRAIN.amp=O1 with {other} may be faster" if other else ""
        say(f"TRAIN.amp auto: off, in float32: {lacks}{faster}")
        return replace(train, amp="off")
    raise InputError(f"TRAIN.amp {train.amp}: {lacks}: set {other or 'TRAIN.amp=off'}")


class Amp:
    """Forward, backward and step in the configured precision."""

    def __init__(self, train: TrainConfig, device: str, seeded: bool, loss_scale: float = 0.0):
        """loss_scale: of a resumed run. Raises InputError for a mode that the device lacks."""
        train = choose_amp(train, device)
        self.device, self._amp, self._dtype = device, train.amp, train.amp_dtype
        self._freeze = train.freeze_batch_norm
        if train.sync_batch_norm and train.freeze_batch_norm:
            # Its backward reads a mean that the forward of a layer in evaluation mode never writes.
            raise InputError(
                "TRAIN.sync_batch_norm and TRAIN.freeze_batch_norm are both True: frozen statistics are the same on "
                "all GPUs already, so set TRAIN.sync_batch_norm=False"
            )
        scales = self._amp != "off" and self._dtype == "float16"
        if device == "gpu":
            # cuDNN's autotune (crop sizes never change) chooses by time, so two runs may differ in the last bits.
            paddle.set_flags({"FLAGS_cudnn_exhaustive_search": not seeded, "FLAGS_cudnn_deterministic": seeded})
        if train.channels_last and scales:
            # Only with this flag does Paddle's BatchNorm take NHWC directly.
            paddle.set_flags({"FLAGS_cudnn_batchnorm_spatial_persistent": True})
        elif train.channels_last:
            now = self._dtype if self._amp != "off" else "float32"
            say(
                f"warning: TRAIN.channels_last is slower in {now}, where BatchNorm turns its input to NCHW and back: "
                "it gains with TRAIN.amp=O1 and TRAIN.amp_dtype=float16"
            )
        # 65536: Paddle's default.
        self._scaler = paddle.amp.GradScaler(init_loss_scaling=loss_scale or 65536.0) if scales else None

    @property
    def loss_scale(self) -> float:
        """Return the factor that the loss is currently multiplied by; 0 without loss scaling."""
        return float(self._scaler.state_dict()["scale"].item()) if self._scaler else 0.0

    def prepare(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer):
        """Return (model, optimizer) for O2: low-precision parameters, of which the optimizer keeps float32 copies.

        The optimizer has no copies of frozen parameters, so these stay in float32. So do buffers, which are constants,
        for example those that normalise the frames.
        """
        if self._amp != "O2":
            return model, optimizer
        # Clones, because decorating rounds the weights in place, and Paddle would copy the rounded ones to float32.
        weights = {name: p.clone() for name, p in model.named_parameters() if not p.stop_gradient}
        buffers = [
            (layer, name, buffer.clone())
            for layer in model.sublayers(include_self=True)
            for name, buffer in layer.named_buffers(include_sublayers=False)
        ]
        frozen = [layer for layer in model.sublayers() if getattr(layer, "weight", None) is not None]
        frozen = [layer for layer in frozen if layer.weight.stop_gradient]
        model, optimizer = paddle.amp.decorate(
            model, optimizer, level="O2", dtype=self._dtype, master_weight=True, excluded_layers=frozen or None
        )
        for layer, name, buffer in buffers:
            setattr(layer, name, buffer)
        set_momentum(optimizer, model, {name: paddle.zeros_like(w) for name, w in weights.items()}, weights)
        return model, optimizer

    def set_training_mode(self, model: paddle.nn.Layer) -> None:
        """Switch the model to training. BatchNorm stays in evaluation mode if it, or its stage, is frozen."""
        model.train()
        for layer in batch_norms(model):
            if self._freeze or layer.weight.stop_gradient:
                layer.eval()

    def autocast(self) -> AbstractContextManager:
        if self._amp == "off":
            return nullcontext()
        return paddle.amp.auto_cast(level=self._amp, dtype=self._dtype)

    def backward(self, loss: paddle.Tensor) -> None:
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def step(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Take an optimizer step. With float16, skip it if the scaled gradients overflowed."""
        if self._scaler is None:
            optimizer.step()
        else:
            wait_for_gpu()  # the scaler reads the overflow flag from the GPU
            self._scaler.step(optimizer)
            self._scaler.update()
        optimizer.clear_grad(set_to_zero=False)


def batch_norms(model: paddle.nn.Layer) -> list[paddle.nn.Layer]:
    """Return the model's BatchNorm layers."""
    kinds = (paddle.nn.BatchNorm2D, paddle.nn.SyncBatchNorm)
    return [layer for layer in model.sublayers() if isinstance(layer, kinds)]


def moving_statistics(model: paddle.nn.Layer) -> list[paddle.Tensor]:
    """Return the mean and variance of each BatchNorm in training mode."""
    return [statistic for layer in batch_norms(model) if layer.training for statistic in (layer._mean, layer._variance)]


def check_num_gpus(num_gpus: int | None, device: str, num_ranks: int) -> None:
    """Warn if TRAIN.num_gpus differs from the number of devices in use, which counts."""
    if device == "gpu" and num_gpus is not None and num_gpus != num_ranks:
        say(f"warning: TRAIN.num_gpus is {num_gpus}, but training uses {num_ranks} (see CUDA_VISIBLE_DEVICES)")


def on_device(
    batches: Iterator[tuple[Batch, float]], device: str
) -> Iterator[tuple[Batch, paddle.Tensor, paddle.Tensor, float]]:
    """Yield (batch, frames, labels, seconds waited) with frames and labels on the device.

    On a GPU, a batch travels while earlier steps, which are only enqueued, are computed. That time does not count as
    waiting. Two batches later, this waits until the step is done, and frees the batch's memory.
    """
    in_use: deque[tuple[Sent, paddle.device.Event]] = deque()
    for batch, waited in batches:
        busy = bool(in_use) and not in_use[-1][1].query()
        sent = send((batch.frames, batch.labels), device)
        yield batch, *sent.tensors, 0.0 if busy else waited
        if device == "gpu":
            in_use.append((sent, paddle.device.current_stream().record_event()))
        if len(in_use) > 2:
            wait_for(in_use.popleft()[1])


def check_last_batch(train: TrainConfig, num_videos: int, world: World) -> None:
    """Raise InputError if the last batch of an epoch is too small for statistics over all devices."""
    tail = num_videos % train.batch_size
    if train.sync_batch_norm and 0 < tail < world.size:
        raise InputError(
            f"TRAIN.sync_batch_norm: the last batch of an epoch has {tail} videos for {world.size} devices, "
            "but each needs one: choose another TRAIN.batch_size"
        )
