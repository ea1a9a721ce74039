"""Run a training: its epochs, its validation, its checkpoints, and when it stops."""

import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import paddle

from inference.label_kinds import KINDS
from models import build_model, section_model
from reader.filelist import FileList
from reader.labels import ids_of
from reader.sampling import balanced_order, epoch_order
from training.amp import Amp, check_last_batch, choose_amp, moving_statistics
from training.average import MovingAverage
from training.checkpoint import Progress, set_momentum, set_own, stepped
from training.cpu_engine import set_engine
from training.frozen import ALL_BUT_THE_CLASSIFIER, feature_sources
from training.loop import Loop, LossGuard, StepLog, Steps, train_one_epoch
from training.recipe import build_optimizer, class_weights, freeze_stages
from training.remaining import RunClock
from training.saver import Saver
from training.schedule import build_schedule
from training.sources import Lists, video_sources
from training.start import Start, announce_lists, check_agreement, describe_data, describe_run, find_start
from training.targets import SEEN
from training.unreadable import UnreadableTracker
from training.validation import check_any, check_readable, validate
from training.verdict import VERDICTS, out_of_patience
from training.waiting import say_waiting
from utils.cli import Terminated
from utils.config.flags import Flags
from utils.config.loading import Config
from utils.log import JsonLog, format_metrics, say, say_in, trim_json_log
from utils.processes.device import memory_errors
from utils.processes.ranks import World
from utils.processes.signals import StopRequest

LESS_MEMORY = "set TRAIN.batch_size smaller, and TRAIN.accumulate_steps larger by as much for the same steps"


class Run:
    """A training run. Creating it checks and loads everything; only `train` writes files."""

    def __init__(
        self, flags: Flags, config: Config, entries: FileList, valid_entries: FileList,
        device: str, world: World,
    ):  # fmt: skip
        """Raise InputError for weights, checkpoints and settings that do not fit together."""
        # Resolve auto for this GPU: ranks compare the value, and checkpoints record it.
        train = choose_amp(config.train, device)
        config = replace(config, train=train)
        self.flags, self.config, self.world = flags, config, world
        self.entries, self.valid_entries, self.folder = entries, valid_entries, Path(train.save_dir)
        self.steps = Steps(len(entries), train.batch_size, train.accumulate_steps)
        check_agreement(world, flags, config, entries, valid_entries)
        self.batch_size = world.local_batch_size(train.batch_size, "TRAIN.batch_size")
        check_last_batch(train, len(entries), world)
        data = describe_data(config, entries, valid_entries)
        self.start = find_start(flags, config, len(entries), data) if world.is_main else Start()
        self.progress = world.broadcast(self._begin())  # rank 0's seed or checkpoint is used by all ranks
        amp = Amp(train, device, flags.fix_random_seed, self.progress.loss_scale)
        paddle.seed(self.progress.seed)
        random.seed(self.progress.seed)
        model = build_model(section_model(config.model, train), data_format="NHWC" if train.channels_last else "NCHW")
        if train.sync_batch_norm:
            model = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        freeze_stages(model, train.freeze_stages)
        optimizer = build_optimizer(model, train)
        self.kind, self.seen = KINDS[config.model.labels], SEEN[config.model.labels]
        labels = (one for entry in entries for one in ids_of(entry.label))
        weights = class_weights(train.class_weights, labels, config.model.num_classes)
        self.objective = self.seen.objective(self.progress.seed, train.label_smoothing, train.mixup_alpha, weights)
        self.schedule = build_schedule(train, self.steps.per_epoch, self.steps.size)
        self.amp, self.guard = amp, LossGuard(world)
        interval = flags.valid_interval if valid_entries else 0
        self.clock = RunClock(self.steps.per_epoch, train.epoch, interval, train.patience)
        self.model, self.optimizer, self.average = self._load(model, optimizer)
        self.frozen = train.freeze_stages == ALL_BUT_THE_CLASSIFIER
        engine = "" if self.frozen else self._set_engine()
        # With kept features a step takes no time.
        self.lines = ("epochs", "validations")[interval == 1] if self.frozen else "steps"
        self.lists = Lists(config, entries, valid_entries, self.batch_size, world)
        known = self.start.checkpoint.data if self.start.checkpoint else {}  # without validation: the previous list's
        about = describe_run(config, known | data) | {"engine": engine}
        self.saver = Saver(self.folder, type(model).__name__, about, self.steps.per_epoch, train.keep_checkpoints)
        self.unreadable = UnreadableTracker(entries, train.max_unreadable, world)
        self.validated = len(valid_entries)  # how many of them the last validation could read
        self.json = self.stop = self.profiler = self.sources = None  # set by `train`
        self.last_saved = time.monotonic()

    def _begin(self) -> Progress:
        if self.start.checkpoint:
            return self.start.checkpoint.progress
        seed = self.config.train.seed if self.flags.fix_random_seed else secrets.randbelow(2**31)
        return Progress(0, 0, seed, len(self.entries), self.config.train.batch_size)

    def _load(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer):
        """Return (model, optimizer, average) from rank 0's files and flags, on every rank."""
        momentum = self.start.load(model) if self.world.is_main else {}
        self.amp.set_training_mode(model)
        average = MovingAverage(self.config.train.ema, model)
        set_own(model, momentum)
        self.world.broadcast_tensors([*model.state_dict().values(), *average.tensors.values()])
        weights = {name: p.clone() for name, p in model.named_parameters() if not p.stop_gradient}
        resumed = (self.progress.epoch, self.progress.step) > (0, 0)
        model, optimizer = self.amp.prepare(model, optimizer)
        if resumed:
            tensors = {
                n: paddle.to_tensor(momentum[n]) if momentum else paddle.zeros_like(w) for n, w in weights.items()
            }
            self.world.broadcast_tensors(list(tensors.values()))
            set_momentum(optimizer, model, tensors, weights)
        average.follow(stepped(model, optimizer))
        return model, optimizer, average

    def _set_engine(self) -> str:
        """Return the engine that checkpoints record: the CPU's engine, or "" on a GPU, which has only one."""
        train = self.config.train
        self.amp.set_training_mode(self.model)
        batch = (self.batch_size, train.seg_num, train.image_size, train.image_size, 3 * train.seglen)
        recorded = self.start.checkpoint.engine if self.start.checkpoint else ""
        engine = set_engine(self.model, train.engine, self.amp.device, self.world, batch, recorded)
        return engine if self.amp.device == "cpu" else ""

    def train(self, follow: Callable[[dict], None] | None = None) -> None:
        """Train, validate and save until the last epoch is done. A signal ends the run after the current step.

        follow: called with each line of the log. Only rank 0 has a log.

        Raises:
            RunError: a loss is not finite, or a checkpoint cannot be written.
            InputError: more training videos are unreadable than TRAIN.max_unreadable allows.
        """
        announce_lists(
            self.config, len(self.entries), len(self.valid_entries), self.steps, self.progress.seed, self.world
        )
        if self.world.is_main:
            self.progress = self.saver.begin(self.start.checkpoint) or self.progress
        self.progress = self.world.broadcast(self.progress)
        over = self.progress.epoch == self.config.train.epoch
        if over:
            say(f"all {self.progress.epoch} epochs are done already; for more, set a larger TRAIN.epoch")
        with ExitStack() as stack:
            stack.enter_context(memory_errors(self.amp.device, LESS_MEMORY))
            features = None
            if self.frozen and not over:  # a signal ends this at once; the next run continues it
                limit = self.unreadable.limit_own
                features = feature_sources(self.lists, self.progress.seed, self.model, self.amp.device, limit)
            self.json = stack.enter_context(self._json_log(follow))
            self.stop = stack.enter_context(StopRequest(announced=self.world.is_main))
            self.profiler = stack.enter_context(self._profiler())
            self.sources = features or video_sources(stack, self.lists, self.progress.seed, self.model, self.amp)
            if self.valid_entries:
                check_readable(self.sources.valid_loader, self.valid_entries, self.config.valid, self.world)
            self.last_saved = time.monotonic()
            self._epochs()

    def _json_log(self, follow: Callable[[dict], None] | None) -> JsonLog:
        path, epoch, step = self.folder / "train_log.jsonl", self.progress.epoch, self.progress.step
        if not self.world.is_main:
            return JsonLog(None)
        trim_json_log(path, epoch, step)
        return JsonLog(path, {"resumed": [epoch, step]} if self.start.checkpoint else None, follow)

    def _profiler(self) -> AbstractContextManager:
        if not (self.flags.is_profiler and self.world.is_main):
            return nullcontext()
        export = paddle.profiler.export_chrome_tracing(self.flags.profiler_path)
        return paddle.profiler.Profiler(scheduler=(2, 7), on_trace_ready=export)

    def _epochs(self) -> None:
        train = self.config.train
        loop = Loop(
            model=self.sources.model,
            optimizer=self.optimizer,
            objective=self.objective,
            amp=self.amp,
            steps=self.steps,
            world=self.world,
            seed=self.progress.seed,
            log=StepLog(self.flags.log_interval, self.json, self.seen, self.lines),
            guard=self.guard,
            learning_rate=self.schedule,
            video_names=lambda batch: [self.entries[i].path for i in batch.indices],
            after_batch=self.unreadable.note,
            after_step=self._after_step,
            time_left=self.clock.after_step,
        )
        while self.progress.epoch < train.epoch:
            if line := out_of_patience(self.progress, train.patience, self.kind.metric):
                say(line)
                break
            epoch, first = self.progress.epoch, self.progress.step
            if first < self.steps.per_epoch:
                order = self._order(epoch)[first * self.steps.size :]
                mine = self.world.shard(order, self.steps.batch_size)
                self.clock.steps.begin()
                spent = train_one_epoch(loop, self.sources.loader.batches(mine, epoch), epoch, first)
                self._save(replace(self.progress, epoch=epoch, step=self.steps.per_epoch))
                say_waiting(epoch, spent, train, self.sources.loader.num_workers, len(self.entries), self.world)
            self._finish_epoch(epoch)
        if self.world.is_main:
            self.saver.finish(self.kind.metric)
            if self.progress.best_epoch >= 0 and self.valid_entries:
                labels, classes = [entry.label for entry in self.valid_entries], self.config.model.num_classes
                of_valid = self.progress.best_top1, self.validated, labels, classes
                say("\n".join(VERDICTS[self.config.model.labels](*of_valid, loop.log.trained)))

    def _order(self, epoch: int) -> Sequence[int]:
        """Return the videos of an epoch, as many as in the list."""
        if self.config.train.balance_classes:
            return balanced_order([entry.label for entry in self.entries], self.progress.seed, epoch)
        return epoch_order(len(self.entries), self.progress.seed, epoch)

    def _after_step(self, epoch: int, step: int) -> None:
        """Decide with all ranks after each step whether to stop for unreadable videos, save, or end."""
        self.average.update(epoch * self.steps.per_epoch + step)
        if self.profiler is not None:
            self.profiler.step()
        minutes = self.config.train.checkpoint_minutes
        due = self.world.is_main and minutes > 0 and time.monotonic() - self.last_saved >= 60 * minutes
        unreadable, due, interrupted, terminated = self.world.all_reduce(
            [self.unreadable.number, due, *self.stop.flags]
        ).tolist()
        self.unreadable.limit(unreadable)
        if step < self.steps.per_epoch and (due or interrupted or terminated):
            self._save(replace(self.progress, epoch=epoch, step=step))
            self._leave(interrupted, terminated)

    def _finish_epoch(self, epoch: int) -> None:
        """Validate if it is due, and move the epoch's checkpoint to the start of the next epoch."""
        progress = replace(self.progress, epoch=epoch + 1, step=0)
        interval = self.flags.valid_interval
        if self.valid_entries and (epoch + 1) % interval == 0:
            metric, thresholds = self._validate(epoch)
            progress = replace(progress, not_better=progress.not_better + 1, thresholds=thresholds)
            if metric > progress.best_top1:
                progress = replace(progress, best_top1=metric, best_epoch=epoch, not_better=0)
        if self.world.is_main:
            self.saver.move_on(progress)
        self.progress = progress
        self._leave_if_asked()

    def _leave_if_asked(self) -> None:
        """End the run if any rank was asked to; everything is saved."""
        self._leave(*self.world.all_reduce(self.stop.flags).tolist())

    def _leave(self, interrupted: int, terminated: int) -> None:
        if interrupted or terminated:
            self.world.all_reduce([0])  # together, after rank 0 has saved
            raise Terminated if terminated else KeyboardInterrupt

    def _validate(self, epoch: int) -> tuple[float, tuple[float, ...]]:
        """Return (the metric in percent on the validation list, thresholds), and log them, on every rank."""
        self.model.eval()
        start = time.perf_counter()
        sources, classes = self.sources, self.config.model.num_classes
        what = sources.valid_network, sources.valid_loader, self.valid_entries, classes
        with self.average.shown(), memory_errors(self.amp.device, "set VALID.batch_size smaller"):
            result = validate(*what, self.world, self._leave_if_asked, self.kind)
        accuracy, unreadable, seconds = result.accuracy, result.unreadable, time.perf_counter() - start
        means = accuracy.means
        for index, reason in unreadable:
            say(f"unreadable, not counted: {self.valid_entries[index].path}: {reason}")
        check_any(accuracy.videos, self.config.valid, len(self.valid_entries))
        counted = f"videos: {accuracy.videos}, unreadable: {len(unreadable)}"
        self.validated = accuracy.videos
        self.clock.validated(epoch, seconds)
        say_in("VALID", f"Epoch {epoch}, {format_metrics(means)}, {counted}, time {seconds:.2f}")
        last = self.steps.per_epoch - 1
        self.json.write(
            mode="valid", epoch=epoch, iter=last, **means, lr=self.schedule(epoch, last),
            videos_per_second=len(self.valid_entries) / seconds, data_wait=result.waited / seconds,
            videos=accuracy.videos, unreadable=len(unreadable), time=time.time(),
        )  # fmt: skip
        return means[self.kind.metric], self.kind.chosen(accuracy)

    def _save(self, progress: Progress) -> None:
        """Write a checkpoint, unless a loss or weight on any rank is not finite. All ranks must call it."""
        self.guard.check()
        self.world.average([*moving_statistics(self.model), *self.average.statistics])
        self.guard.check_weights(self.model)
        self.progress = replace(progress, loss_scale=self.amp.loss_scale)
        if self.world.is_main:
            self.saver.save(self.model, self.optimizer, self.progress, self.average.tensors)
        self.last_saved = time.monotonic()
