"""A training run: its epochs, its validation, what it saves and when it stops."""

import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import paddle

from metrics.evaluate import evaluate
from models import build_model, section_model
from reader.build import describe_protocol
from reader.filelist import FileList
from reader.loader import Batch
from reader.sampling import balanced_order, epoch_order
from training.checkpoint import Progress, set_momentum
from training.device import Arithmetic, moving_statistics
from training.engine import set_engine
from training.frozen import ALL_BUT_THE_CLASSIFIER, feature_sources
from training.loop import Loop, LossGuard, StepLog, Steps, train_one_epoch
from training.recipe import Objective, build_optimizer, freeze_stages
from training.saver import Saver
from training.schedule import build_schedule
from training.sources import Lists, Sources, video_sources
from training.start import Start, check_agreement, describe_run, find_start
from utils.cli import Terminated
from utils.config.flags import Flags
from utils.config.loading import Config
from utils.errors import InputError
from utils.log import JsonLog, format_metrics, say, say_in, trim_json_log
from utils.processes.ranks import World
from utils.processes.signals import StopRequest


class Run:
    """Everything is checked and loaded when it is made; nothing is written before `train`."""

    def __init__(
        self, flags: Flags, config: Config, entries: FileList, valid_entries: FileList,
        device: str, world: World,
    ):  # fmt: skip
        """Raises InputError for weights, checkpoints and settings that do not fit together."""
        train = config.train
        self.flags, self.config, self.world = flags, config, world
        self.entries, self.valid_entries, self.folder = entries, valid_entries, Path(train.save_dir)
        self.steps = Steps(len(entries), train.batch_size, train.accumulate_steps)
        check_agreement(world, flags, config, len(entries), len(valid_entries))
        self.batch_size = world.local_batch_size(train.batch_size, "TRAIN.batch_size")
        tail = len(entries) % train.batch_size
        if train.sync_batch_norm and 0 < tail < world.size:
            raise InputError(
                f"TRAIN.sync_batch_norm: the last batch of an epoch has {tail} videos for {world.size} devices, "
                "but each needs one: choose another TRAIN.batch_size"
            )
        self.start = find_start(flags, config, len(entries)) if world.is_main else Start()
        self.progress = world.first(self._begin())  # rank 0's seed, or checkpoint, holds for all
        arithmetic = Arithmetic(train, device, flags.fix_random_seed, self.progress.loss_scale)
        paddle.seed(self.progress.seed)
        random.seed(self.progress.seed)
        model = build_model(section_model(config.model, train), data_format="NHWC" if train.channels_last else "NCHW")
        if train.sync_batch_norm:
            model = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        freeze_stages(model, train.freeze_stages)
        optimizer = build_optimizer(model, train)
        self.objective = Objective(self.progress.seed, train.label_smoothing, train.mixup_alpha)
        self.schedule = build_schedule(train, self.steps.per_epoch, self.steps.size)
        self.arithmetic, self.guard = arithmetic, LossGuard(world)
        self.model, self.optimizer = self._load(model, optimizer)
        self.frozen = train.freeze_stages == ALL_BUT_THE_CLASSIFIER
        if not self.frozen:
            set_engine(self.model, train.engine, device)
        self.lists = Lists(config, entries, valid_entries, self.batch_size, world)
        name = type(model).__name__
        self.saver = Saver(self.folder, name, describe_run(config), self.steps.per_epoch, train.keep_checkpoints)
        self.unreadable: dict[str, str] = {}  # path -> reason, of training videos met on this rank
        self.unreadable_met = 0  # the sum of their numbers over all ranks

    def _begin(self) -> Progress:
        if self.start.checkpoint:
            return self.start.checkpoint.progress
        seed = self.config.train.seed if self.flags.fix_random_seed else secrets.randbelow(2**31)
        return Progress(0, 0, seed, len(self.entries), self.config.train.batch_size)

    def _load(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer):
        """(model, optimizer) as rank 0's files and flags have them, on every rank."""
        momentum = self.start.load(model) if self.world.is_main else {}
        self.world.copy_from_first(list(model.state_dict().values()))
        weights = {name: p.clone() for name, p in model.named_parameters() if not p.stop_gradient}
        resumed = (self.progress.epoch, self.progress.step) > (0, 0)
        model, optimizer = self.arithmetic.prepare(model, optimizer)
        if resumed:
            tensors = {
                n: paddle.to_tensor(momentum[n]) if momentum else paddle.zeros_like(w) for n, w in weights.items()
            }
            self.world.copy_from_first(list(tensors.values()))
            set_momentum(optimizer, model, tensors, weights)
        return model, optimizer

    def train(self, follow: Callable[[dict], None] | None = None) -> None:
        """Trains, validates and saves until the last epoch is done; a signal ends it after the step in hand.

        follow: is told each line of the log. Only the first of several ranks has a log.

        Raises:
            RunError: a loss is not finite, or a checkpoint cannot be written.
            InputError: more training videos are unreadable than TRAIN.max_unreadable allows.
        """
        ranks = f", {self.world.size} processes" if self.world.size > 1 else ""
        say(
            f"training on {len(self.entries)} videos, {self.steps.per_epoch} steps per epoch, "
            f"seed {self.progress.seed}{ranks}"
        )
        if self.world.is_main:
            self.progress = self.saver.begin(self.start.checkpoint) or self.progress
        self.progress = self.world.first(self.progress)
        if self.progress.epoch == self.config.train.epoch:
            say(f"all {self.progress.epoch} epochs are done already; more of them need a larger TRAIN.epoch")
        features = self._features()
        with ExitStack() as stack:
            self.json = stack.enter_context(self._json_log(follow))
            self.stop = stack.enter_context(StopRequest())
            self.profiler = stack.enter_context(self._profiler())
            self.sources = features or video_sources(stack, self.lists, self.progress.seed, self.model, self.arithmetic)
            if self.valid_entries:
                say(f"validating on {len(self.valid_entries)} videos: {describe_protocol(self.config.valid)}")
            self.last_saved = time.monotonic()
            self._epochs()

    def _features(self) -> Sources | None:
        """Of a frozen network, as long as there is something to train. A signal ends this at once: it goes on later."""
        if not self.frozen or self.progress.epoch == self.config.train.epoch:
            return None
        return feature_sources(
            self.lists, self.progress.seed, self.model, self.arithmetic.device, self._limit_own_unreadable
        )

    def _json_log(self, follow: Callable[[dict], None] | None) -> JsonLog:
        path = self.folder / "train_log.jsonl"
        if not self.world.is_main:
            return JsonLog(None)
        epoch, step = self.progress.epoch, self.progress.step
        trim_json_log(path, epoch, step)
        return JsonLog(path, {"resumed": [epoch, step]} if self.start.checkpoint else None, follow)

    def _profiler(self) -> AbstractContextManager:
        if not (self.flags.is_profiler and self.world.is_main):
            return nullcontext()
        export = paddle.profiler.export_chrome_tracing(self.flags.profiler_path)
        return paddle.profiler.Profiler(scheduler=(2, 7), on_trace_ready=export)

    def _epochs(self) -> None:
        loop = Loop(
            model=self.sources.model,
            optimizer=self.optimizer,
            objective=self.objective,
            arithmetic=self.arithmetic,
            steps=self.steps,
            world=self.world,
            seed=self.progress.seed,
            log=StepLog(self.flags.log_interval, self.json),
            guard=self.guard,
            learning_rate=self.schedule,
            video_names=lambda batch: [self.entries[i].path for i in batch.indices],
            after_batch=self._note_unreadable,
            after_step=self._after_step,
        )
        for epoch in range(self.progress.epoch, self.config.train.epoch):
            first = self.progress.step
            if first < self.steps.per_epoch:
                order = self._order(epoch)[first * self.steps.size :]
                mine = self.world.share(order, self.steps.batch_size)
                train_one_epoch(loop, self.sources.loader.batches(mine, epoch), epoch, first)
                self._save(replace(self.progress, epoch=epoch, step=self.steps.per_epoch))
            self._finish_epoch(epoch)
        if self.world.is_main:
            self.saver.finish()

    def _order(self, epoch: int) -> Sequence[int]:
        """The videos of an epoch, of which there are as many as in the list."""
        if self.config.train.balance_classes:
            return balanced_order([entry.label for entry in self.entries], self.progress.seed, epoch)
        return epoch_order(len(self.entries), self.progress.seed, epoch)

    def _note_unreadable(self, batch: Batch) -> None:
        for index, reason in batch.unreadable:
            path = self.entries[index].path
            if path not in self.unreadable:
                self.unreadable[path] = reason
                say(f"unreadable, replaced by the next video of the list: {path}: {reason}", every_rank=True)

    def _after_step(self, epoch: int, step: int) -> None:
        """What all ranks decide together after each step: too many unreadable videos, a checkpoint, an end."""
        if self.profiler is not None:
            self.profiler.step()
        minutes = self.config.train.checkpoint_minutes
        due = self.world.is_main and minutes > 0 and time.monotonic() - self.last_saved >= 60 * minutes
        unreadable, due, interrupted, terminated = self.world.sum(
            [len(self.unreadable), due, *self.stop.flags]
        ).tolist()
        if unreadable > self.unreadable_met:
            self.unreadable_met = unreadable
            self._limit_unreadable(self.world.gather(self.unreadable))
        if step < self.steps.per_epoch and (due or interrupted or terminated):
            self._save(replace(self.progress, epoch=epoch, step=step))
            self._leave(interrupted, terminated)

    def _limit_own_unreadable(self, batch: Batch) -> None:
        """Before training begins, where ranks do not wait for each other."""
        self._note_unreadable(batch)
        self._limit_unreadable([self.unreadable])

    def _limit_unreadable(self, parts: Sequence[dict[str, str]]) -> None:
        """parts: what is known on each rank."""
        everywhere: dict[str, str] = {}
        for known in parts:
            everywhere |= known
        share = self.config.train.max_unreadable
        if len(everywhere) > max(1, int(share * len(self.entries))):
            raise InputError(
                f"{len(everywhere)} of {len(self.entries)} training videos are unreadable, more than "
                f"TRAIN.max_unreadable allows ({share:g} of the list, at least one): {', '.join(everywhere)}"
            )

    def _finish_epoch(self, epoch: int) -> None:
        """Validates if it is time to, and moves the epoch's checkpoint on to the start of the next epoch."""
        progress = replace(self.progress, epoch=epoch + 1, step=0)
        interval = self.flags.valid_interval
        if self.valid_entries and (epoch + 1) % interval == 0:
            top1 = self._validate(epoch)
            if top1 > progress.best_top1:
                progress = replace(progress, best_top1=top1, best_epoch=epoch)
        if self.world.is_main:
            self.saver.move_on(progress)
        self.progress = progress
        self._leave_if_asked()

    def _leave_if_asked(self) -> None:
        """Ends the run, where everything is saved, if any rank was asked to."""
        self._leave(*self.world.sum(self.stop.flags).tolist())

    def _leave(self, interrupted: int, terminated: int) -> None:
        if interrupted or terminated:
            self.world.sum([0])  # together, once rank 0 has saved
            raise Terminated if terminated else KeyboardInterrupt

    def _validate(self, epoch: int) -> float:
        """The top-1 accuracy in percent on the validation list, logged; every rank has its part of the list."""
        self.model.eval()
        start = time.perf_counter()
        order = range(self.world.rank, len(self.valid_entries), self.world.size)
        # All ranks leave together: each asks after every batch, and as often as the one with most batches.
        most_videos = len(range(0, len(self.valid_entries), self.world.size))
        network, loader = self.sources.valid_network, self.sources.valid_loader
        rounds = iter(range(0, most_videos, loader.batch_size))

        def stop_if_asked(*_) -> None:
            next(rounds)
            self._leave_if_asked()

        result = evaluate(network, loader, order, stop_if_asked, "validation")
        for _ in rounds:
            self._leave_if_asked()
        result = result.over(self.world)
        accuracy, unreadable = result.accuracy, result.unreadable
        seconds = time.perf_counter() - start
        for index, reason in unreadable:
            say(f"unreadable, not counted: {self.valid_entries[index].path}: {reason}")
        if accuracy.videos == 0:
            raise InputError(f"{self.config.valid.filelist}: none of its {len(self.valid_entries)} videos can be read")
        counted = f"videos: {accuracy.videos}, unreadable: {len(unreadable)}"
        say_in("VALID", f"Epoch {epoch}, {format_metrics(accuracy.means)}, {counted}, time {seconds:.2f}")
        last = self.steps.per_epoch - 1
        self.json.write(
            mode="valid", epoch=epoch, iter=last, **accuracy.means, lr=self.schedule(epoch, last),
            videos_per_second=len(self.valid_entries) / seconds, data_wait=result.waited / seconds,
            videos=accuracy.videos, unreadable=len(unreadable), time=time.time(),
        )  # fmt: skip
        return accuracy.means["top1_acc"]

    def _save(self, progress: Progress) -> None:
        """Writes a checkpoint, unless a loss or weight on any rank is not finite; all ranks must call it."""
        self.guard.check()
        self.world.average(moving_statistics(self.model))
        self.guard.check_weights(self.model)
        self.progress = replace(progress, loss_scale=self.arithmetic.loss_scale)
        if self.world.is_main:
            self.saver.save(self.model, self.optimizer, self.progress)
        self.last_saved = time.monotonic()
