"""What differs between devices: mixed precision, memory layout, and how batches reach the device.

The GPU parts follow Paddle's documentation; they change nothing on the CPU.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import paddle

from reader.loader import Batch
from utils.config.keys import TrainConfig
from utils.errors import InputError
from utils.log import say


class Arithmetic:
    """Forward, backward and step in the precision that the configuration asks for."""

    def __init__(self, train: TrainConfig, device: str, seeded: bool, loss_scale: float = 0.0):
        """loss_scale: where a resumed run stood. Raises InputError for what the CPU does not have."""
        self.device, self._amp, self._dtype = device, train.amp, train.amp_dtype
        self._freeze = train.freeze_batch_norm
        if device == "cpu":
            for key, asked in (("amp", train.amp != "off"), ("sync_batch_norm", train.sync_batch_norm),
                               ("channels_last", train.channels_last)):  # fmt: skip
                if asked:
                    raise InputError(f"TRAIN.{key} needs a GPU: Paddle has no such training on the CPU")
        if device == "gpu":
            # cuDNN's autotune (crops never change their size) picks by time, so two runs may differ in the last bits.
            paddle.set_flags({"FLAGS_cudnn_exhaustive_search": not seeded, "FLAGS_cudnn_deterministic": seeded})
        scales = self._amp != "off" and self._dtype == "float16"
        # 65536: Paddle's default.
        self._scaler = paddle.amp.GradScaler(init_loss_scaling=loss_scale or 65536.0) if scales else None

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied with at present; 0 where it is not."""
        return float(self._scaler.state_dict()["scale"].item()) if self._scaler else 0.0

    def prepare(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer):
        """(model, optimizer) for O2: parameters in the low precision, the optimizer keeps them in float32.

        Of frozen ones the optimizer has no copy: they stay in float32 themselves.
        """
        if self._amp != "O2":
            return model, optimizer
        frozen = [layer for layer in model.sublayers() if getattr(layer, "weight", None) is not None]
        frozen = [layer for layer in frozen if layer.weight.stop_gradient]
        return paddle.amp.decorate(
            model, optimizer, level="O2", dtype=self._dtype, master_weight=True, excluded_layers=frozen or None
        )

    def set_training_mode(self, model: paddle.nn.Layer) -> None:
        """Switches the model to training; BatchNorm stays in evaluation where it, or its stage, is frozen."""
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
        """One step of the optimizer; with float16 it is left out when the scaled gradients have overflowed."""
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()
        optimizer.clear_grad()


def batch_norms(model: paddle.nn.Layer) -> list[paddle.nn.Layer]:
    """The model's BatchNorm layers."""
    kinds = (paddle.nn.BatchNorm2D, paddle.nn.SyncBatchNorm)
    return [layer for layer in model.sublayers() if isinstance(layer, kinds)]


def moving_statistics(model: paddle.nn.Layer) -> list[paddle.Tensor]:
    """Mean and variance of each BatchNorm that is in training."""
    return [statistic for layer in batch_norms(model) if layer.training for statistic in (layer._mean, layer._variance)]


def check_num_gpus(num_gpus: int | None, device: str, num_ranks: int) -> None:
    """Warns where TRAIN.num_gpus differs from the devices that are used; those count."""
    if device == "gpu" and num_gpus is not None and num_gpus != num_ranks:
        say(f"warning: TRAIN.num_gpus is {num_gpus}, but training uses {num_ranks} (see CUDA_VISIBLE_DEVICES)")


def on_device(
    batches: Iterator[tuple[Batch, float]], device: str
) -> Iterator[tuple[Batch, paddle.Tensor, paddle.Tensor, float]]:
    """(batch, frames, labels, seconds waited) with frames and labels on the device.

    On a GPU the copy goes from pinned memory over a stream of its own: as the steps before are only enqueued, it
    travels while they are computed. Two batches behind, this waits until the step is done, and lets go of its memory.
    """
    if device == "cpu":
        for batch, waited in batches:
            yield batch, paddle.to_tensor(batch.frames), paddle.to_tensor(batch.labels), waited
        return
    copies, in_use = paddle.device.Stream(), deque()
    for batch, waited in batches:
        pinned = [paddle.to_tensor(array, place=paddle.CUDAPinnedPlace()) for array in (batch.frames, batch.labels)]
        with paddle.device.stream_guard(copies):
            frames, labels = (tensor.cuda(blocking=False) for tensor in pinned)
            arrived = copies.record_event()
        paddle.device.current_stream().wait_event(arrived)
        yield batch, frames, labels, waited
        in_use.append((pinned, frames, labels, paddle.device.current_stream().record_event()))
        if len(in_use) > 2:
            in_use.popleft()[-1].synchronize()
