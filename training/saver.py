"""Manage a run's checkpoints in its folder: names, which ones stay, and which one is the best."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import paddle

from training.checkpoint import (
    Checkpoint,
    Progress,
    check_files,
    copy_checkpoint,
    read_manifest,
    remove_checkpoint,
    remove_leftovers,
    save_checkpoint,
)  # fmt: skip
from training.manifest import VALID_LIST
from utils.errors import InputError
from utils.log import say


class Saver:
    """Writes the checkpoints of one run; with several ranks, only rank 0 may use it.

    NAME_epoch{N} is the state after epoch N, NAME_epoch{N}_step{S} a state within it, NAME the state at the end, and
    NAME_best the state after the epoch with the best validation.
    """

    def __init__(self, folder: Path, name: str, about: Mapping[str, Any], steps_per_epoch: int, keep: int):
        """about: facts about the run, for every manifest. keep: how many newest epochs stay; 0: all."""
        self._folder, self._name, self._about = folder, name, about
        self._steps_per_epoch, self._keep = steps_per_epoch, keep
        self._newest: Checkpoint | None = None

    def begin(self, resumed: Checkpoint | None) -> Progress | None:
        """Return where the run resumes, now the folder's newest checkpoint; None for a new run."""
        remove_leftovers(self._folder)
        if resumed is None:
            if older := sorted(path.stem for path in self._folder.glob(f"{self._name}*.json")):
                say(
                    f"{self._folder} holds checkpoints of an earlier run ({', '.join(older)}): this new run overwrites "
                    "them one by one; --resume=auto would have continued that run"
                )
            return None
        progress = self._keep_best(resumed)
        self._newest = copy_checkpoint(resumed, self._prefix(progress), progress, self._about)
        return progress

    def _keep_best(self, resumed: Checkpoint) -> Progress:
        """Return the progress of `resumed`, without a best epoch if its weights no longer exist."""
        progress, source = resumed.progress, resumed.prefix.parent
        best = self._folder / f"{self._name}_best"
        if progress.best_epoch < 0:
            with suppress(InputError):  # missing or torn: nobody takes it for this run's
                old = read_manifest(best)
                if old.progress.seed == progress.seed and old.data.get(VALID_LIST) != self._about["data"].get(
                    VALID_LIST
                ):
                    remove_checkpoint(best)
                    say(f"removed {best}: it was the best on another validation list")
            return progress
        for prefix in (best, source / best.name, source / f"{self._name}_epoch{progress.best_epoch}"):
            try:
                found = read_manifest(prefix)
                check_files(found)
            except InputError:
                continue  # missing or torn: try the next one
            then = found.progress
            if (then.seed, then.epoch, then.step) == (progress.seed, progress.best_epoch + 1, 0) and (
                then.best_epoch == progress.best_epoch
            ):
                if prefix != best:
                    copy_checkpoint(found, best, then, self._about)
                return progress
        say(f"the weights of epoch {progress.best_epoch}, the best one so far, are missing: {best.name} starts again")
        return replace(progress, best_epoch=-1, best_top1=-1.0, not_better=0)

    def save(
        self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, progress: Progress,
        averages: Mapping[str, paddle.Tensor] = {},
    ) -> None:  # fmt: skip
        """Write a checkpoint, see `save_checkpoint`, and delete checkpoints that it replaces. Raises RunError."""
        self._newest = save_checkpoint(self._prefix(progress), model, optimizer, progress, self._about, averages)
        self._remove_older(progress)

    def move_on(self, progress: Progress) -> None:
        """Move the newest checkpoint to `progress`, the start of the next epoch; copy it if it is the best."""
        if progress.best_epoch == progress.epoch - 1:
            copy_checkpoint(self._newest, self._folder / f"{self._name}_best", progress, self._about)
        self._newest = copy_checkpoint(self._newest, self._prefix(progress), progress, self._about)

    def finish(self, metric: str = "top1_acc") -> None:
        """Write NAME, a copy of the newest checkpoint, and say where the files are. Raises RunError.

        metric: chose the best checkpoint.
        """
        progress = self._newest.progress
        copy_checkpoint(self._newest, self._folder / self._name, progress, self._about)
        best = ""
        if progress.best_epoch >= 0:
            best = (
                f"; best {metric} {progress.best_top1:.2f} in epoch {progress.best_epoch}: {self._name}_best.pdparams"
            )
        say(f"saved {self._folder / self._name}.pdparams{best}")

    def _prefix(self, progress: Progress) -> Path:
        if 0 < progress.step < self._steps_per_epoch:
            return self._folder / f"{self._name}_epoch{progress.epoch}_step{progress.step}"
        return self._folder / f"{self._name}_epoch{progress.epoch - (progress.step == 0)}"

    def _remove_older(self, newest: Progress) -> None:
        """Delete checkpoints within an epoch, whole or torn, and those of older epochs, if they lie before `newest`.

        Later checkpoints belong to another run in the folder, which this one cannot resume.
        """
        epochs = []
        for path in self._folder.glob(f"{self._name}_epoch*.pdparams"):
            match = re.fullmatch(rf"{re.escape(self._name)}_epoch(\d+)(?:_step(\d+))?", path.stem)
            if match and match[2]:
                if (int(match[1]), int(match[2])) < (newest.epoch, newest.step):
                    remove_checkpoint(path.with_suffix(""))
            elif match and int(match[1]) < newest.epoch:
                epochs.append(int(match[1]))
        # The newest counts as kept, unless it is within its epoch.
        others = max(self._keep - (newest.step == self._steps_per_epoch), 0)
        if self._keep:
            for epoch in sorted(epochs)[: len(epochs) - others]:
                remove_checkpoint(self._folder / f"{self._name}_epoch{epoch}")
