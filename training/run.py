"""A training run: what it starts from, its epochs, what it saves and when."""

import platform
import random
import secrets
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle

from metrics.evaluate import evaluate
from models import build_model
from training.loop import LossGuard, StepLog, Steps, train_one_epoch
from models.weights import load_weights
from reader.build import build_loader
from reader.filelist import Entry
from reader.loader import Batch, Loader
from reader.sampling import epoch_order
from utils.checkpoint import (
    Checkpoint, Progress, copy_checkpoint, find_checkpoint, load_optimizer, remove_older, save_checkpoint, write_manifest,
)  # fmt: skip
from utils.config import Config
from utils.download import imagenet_resnet50
from utils.errors import InputError
from utils.flags import Flags
from utils.log import JsonLog, format_metrics, say, say_in, trim_json_log
from utils.schedule import learning_rate_at
from utils.stop import StopRequest


class Trainer:
    """Everything is checked and loaded when it is made; nothing is written before `run`."""

    def __init__(self, flags: Flags, config: Config, entries: Sequence[Entry], valid_entries: Sequence[Entry]):
        self.flags, self.config, self.entries, self.valid_entries = flags, config, entries, valid_entries
        self.folder = Path(flags.save_dir)
        train = config.train
        self.steps = Steps(len(entries), train.batch_size, train.accumulate_steps)
        self.about = {
            "model": {key: getattr(config.model, key) for key in ("name", "num_layers", "num_classes", "seglen")},
            "train": {key: getattr(train, key) for key in ("learning_rate", "learning_rate_decay", "epoch", "momentum",
                                                           "l2_weight_decay", "accumulate_steps")},
            "versions": {"python": platform.python_version(), "paddle": paddle.__version__, "numpy": np.__version__},
        }  # fmt: skip
        checkpoint = self._find_checkpoint()
        seed = train.seed if flags.fix_random_seed else secrets.randbelow(2**31)
        fresh = Progress(0, 0, seed, len(entries), train.batch_size)
        self.progress = checkpoint.progress if checkpoint else fresh
        self._seed_all(self.progress.seed)
        self.model = build_model(config.model)
        self.optimizer = paddle.optimizer.Momentum(
            learning_rate=train.learning_rate,
            momentum=train.momentum,
            parameters=self.model.parameters(),
            weight_decay=paddle.regularizer.L2Decay(train.l2_weight_decay),
        )
        self._load(checkpoint)
        self.name = type(self.model).__name__
        self.unreadable: dict[str, str] = {}  # path -> reason, of training videos

    def _seed_all(self, seed: int) -> None:
        paddle.seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        if self.flags.fix_random_seed and paddle.is_compiled_with_cuda():
            paddle.set_flags({"FLAGS_cudnn_deterministic": True})

    def _find_checkpoint(self) -> Checkpoint | None:
        """The checkpoint to go on from; None for a run from the start, with --resume=WEIGHTS a fine-tuning one."""
        resume, self.fine_tune = self.flags.resume, None
        if resume is None:
            return None
        weights = Path(resume if resume.endswith(".pdparams") else resume + ".pdparams")
        if resume != "auto" and weights.is_file() and not weights.with_suffix(".json").is_file():
            self.fine_tune = str(weights)
            return None
        checkpoint, torn = find_checkpoint(resume, self.flags.save_dir)
        for line in torn:
            say(f"--resume={resume}: passed over {line}")
        if checkpoint is None:
            say(f"--resume=auto: no checkpoint in {self.flags.save_dir}: training starts at epoch 0")
            return None
        self._compare(checkpoint)
        return checkpoint

    def _compare(self, checkpoint: Checkpoint) -> None:
        """Stops when the checkpoint contradicts the configuration; says which harmless settings have changed."""
        where = f"--resume={self.flags.resume}: {checkpoint.prefix}"
        for key, value in self.about["model"].items():
            if checkpoint.model.get(key) != value:
                raise InputError(f"{where} has MODEL.{key} {checkpoint.model.get(key)!r}, the configuration {value!r}")
        progress = checkpoint.progress
        now = (len(self.entries), self.config.train.batch_size, self.config.train.accumulate_steps)
        then = (progress.videos, progress.batch_size, checkpoint.train.get("accumulate_steps"))
        if progress.step and now != then:
            raise InputError(
                f"{where} stands within an epoch of (videos, batch_size, accumulate_steps) {then}, the configuration has {now}: "
                "resume from the end of an epoch"
            )
        for key, value in self.about["train"].items():
            if checkpoint.train.get(key) != value:
                say(f"{where} was trained with TRAIN.{key} {checkpoint.train.get(key)}; it goes on with {value}")

    def _load(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint:
            load_weights(self.model, f"{checkpoint.prefix}.pdparams")
            load_optimizer(checkpoint.prefix, self.model, self.optimizer)
            say(f"resumed from {checkpoint.prefix}: epoch {self.progress.epoch}, iter {self.progress.step}")
        elif self.fine_tune:
            say(f"--resume={self.flags.resume} holds weights only: fine-tuning starts from them at epoch 0")
            say(str(load_weights(self.model, self.fine_tune)))
        elif (self.flags.pretrain or "").lower() != "none":
            path = self.flags.pretrain or str(imagenet_resnet50(num_layers=self.config.model.num_layers))
            say(str(load_weights(self.model, path, pretrain=True)))
        else:
            say("--pretrain=none: training starts from random weights")

    def run(self) -> None:
        """Trains, validates and saves until the last epoch is done; a signal ends it after the step in hand.

        Raises:
            RunError: a loss is not finite, or a checkpoint cannot be written.
            InputError: more training videos are unreadable than TRAIN.max_unreadable allows.
        """
        say(f"training on {len(self.entries)} videos, {self.steps.per_epoch} steps per epoch, seed {self.progress.seed}")
        log_path = self.folder / "train_log.jsonl"
        trim_json_log(log_path, self.progress.epoch, self.progress.step)
        self.json = JsonLog(log_path)
        self.step_log = StepLog(self.flags.log_interval, self.json)
        self.last_saved = time.monotonic()
        with ExitStack() as stack:
            stack.callback(self.json.close)
            self.stop = stack.enter_context(StopRequest())
            self.profiler = stack.enter_context(self._profiler())
            loader = build_loader(self.config, self.config.train, self.entries, augment_seed=self.progress.seed)
            stack.enter_context(loader)
            if self.valid_entries:
                self.valid_loader = stack.enter_context(build_loader(self.config, self.config.valid, self.valid_entries))
            for epoch in range(self.progress.epoch, self.config.train.epoch):
                self._train(epoch, loader)
                self._finish_epoch(epoch)
        self._finish()

    def _profiler(self) -> AbstractContextManager:
        if not self.flags.is_profiler:
            return nullcontext()
        export = paddle.profiler.export_chrome_tracing(self.flags.profiler_path)
        return paddle.profiler.Profiler(scheduler=(2, 7), on_trace_ready=export)

    def _train(self, epoch: int, loader: Loader) -> None:
        first_step = self.progress.step
        if first_step < self.steps.per_epoch:
            order = epoch_order(len(self.entries), self.progress.seed, epoch)
            done = first_step * self.steps.batch_size * self.steps.accumulate
            train_one_epoch(
                self.model,
                self.optimizer,
                loader.batches(order[done:], epoch),
                self.steps,
                epoch=epoch,
                first_step=first_step,
                learning_rate=lambda step: self._learning_rate(epoch, step),
                log=self.step_log,
                after_batch=self._note_unreadable,
                after_step=self._after_step,
                video_names=lambda batch: [self.entries[i].path for i in batch.indices],
            )
        self._save(replace(self.progress, epoch=epoch, step=self.steps.per_epoch))

    def _learning_rate(self, epoch: int, step: int) -> float:
        train, per_epoch = self.config.train, self.steps.per_epoch
        total = train.epoch * per_epoch
        return learning_rate_at(epoch * per_epoch + step, total, train.learning_rate, train.learning_rate_decay)

    def _after_step(self, epoch: int, step: int, guard: LossGuard) -> None:
        if self.profiler is not None:
            self.profiler.step()
        minutes = self.config.train.checkpoint_minutes
        due = minutes and time.monotonic() - self.last_saved >= 60 * minutes
        stopped = self.stop.signal_number is not None
        if (due or stopped) and step < self.steps.per_epoch:
            guard.check()
            self._save(replace(self.progress, epoch=epoch, step=step))
        if stopped and step < self.steps.per_epoch:
            self.stop.leave()

    def _note_unreadable(self, batch: Batch) -> None:
        """Names each unreadable video once; stops when there are too many."""
        for index, reason in batch.unreadable:
            path = self.entries[index].path
            if path not in self.unreadable:
                self.unreadable[path] = reason
                say(f"unreadable, replaced by the next video of the list: {path}: {reason}")
        share = self.config.train.max_unreadable
        if len(self.unreadable) > max(1, int(share * len(self.entries))):
            raise InputError(
                f"{len(self.unreadable)} of {len(self.entries)} training videos are unreadable, more than "
                f"TRAIN.max_unreadable allows ({share:g} of the list, at least one): {', '.join(self.unreadable)}"
            )

    def _finish_epoch(self, epoch: int) -> None:
        """Validates if it is time to, and moves the epoch's checkpoint on to the start of the next epoch."""
        progress = replace(self.progress, epoch=epoch + 1, step=0)
        interval = self.flags.valid_interval
        prefix = self._prefix(self.progress)
        if interval and (epoch + 1) % interval == 0:
            means = self._validate(epoch)
            if means["top1_acc"] > progress.best_top1:
                progress = replace(progress, best_top1=means["top1_acc"], best_epoch=epoch)
                copy_checkpoint(prefix, self.folder / f"{self.name}_best", progress, self.about)
        write_manifest(prefix, progress, self.about)
        self.progress = progress
        if self.stop.signal_number is not None:
            self.stop.leave()

    def _validate(self, epoch: int) -> dict[str, float]:
        """Loss, top1_acc and top5_acc on the validation list, logged."""
        self.model.eval()
        start = time.perf_counter()

        def network(frames: np.ndarray) -> np.ndarray:
            with paddle.no_grad():
                return self.model(paddle.to_tensor(frames)).numpy()

        def stop_if_asked(*_) -> None:
            if self.stop.signal_number is not None:
                self.stop.leave()  # the epoch is saved; a resumed run begins with this validation

        result = evaluate(network, self.valid_loader, range(len(self.valid_entries)), stop_if_asked, "validation")
        means, videos = result.accuracy.means, result.accuracy.videos
        seconds = time.perf_counter() - start
        for index, reason in result.unreadable:
            say(f"unreadable, not counted: {self.valid_entries[index].path}: {reason}")
        counted = f"videos: {videos}, unreadable: {len(result.unreadable)}"
        say_in("VALID", f"Epoch {epoch}, {format_metrics(means)}, {counted}, time {seconds:.2f}")
        last = self.steps.per_epoch - 1
        self.json.write(
            mode="valid", epoch=epoch, iter=last, **means, lr=self._learning_rate(epoch, last),
            videos_per_second=len(self.valid_entries) / seconds, data_wait=result.waited / seconds,
            videos=videos, unreadable=len(result.unreadable),
        )  # fmt: skip
        return means

    def _prefix(self, progress: Progress) -> Path:
        """Where a checkpoint goes: the original's name at the end of an epoch, one with the step within it."""
        within = f"_step{progress.step}" if progress.step < self.steps.per_epoch else ""
        return self.folder / f"{self.name}_epoch{progress.epoch}{within}"

    def _save(self, progress: Progress) -> None:
        save_checkpoint(self._prefix(progress), self.model, self.optimizer, progress, self.about)
        self.progress, self.last_saved = progress, time.monotonic()
        remove_older(self.folder, self.name, self._prefix(progress), self.config.train.keep_checkpoints)

    def _finish(self) -> None:
        last = self.folder / f"{self.name}_epoch{self.config.train.epoch - 1}"
        copy_checkpoint(last, self.folder / self.name, self.progress, self.about)
        best = ""
        if self.progress.best_epoch >= 0:
            best = f"; best top1_acc {self.progress.best_top1:.2f} in epoch {self.progress.best_epoch}: {self.name}_best.pdparams"
        say(f"saved {self.folder / self.name}.pdparams{best}")
