"""Plan and execute the runs of tools/repeat.py, and find the finished ones."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.lists.folds import fold_lists
from reader.build import read_section_list
from utils.config.loading import load_config
from utils.errors import InputError, RunError, os_errors
from utils.processes.following import run_script
from utils.storage.files import write_text
from utils.storage.lock import locked_folder
from utils.storage.shelf import digest

# A file in the run's folder: the run's identity, and its figures once it is done.
NAME = "run.json"
# The features of a frozen network, in TRAIN.save_dir: training/features.py.
FEATURES = "features"


@dataclass(frozen=True)
class PlannedRun:
    """A training and the evaluation of its network, in a folder of their own."""

    name: str  # for people: seed 3, fold 3
    folder: Path
    config: str  # the path of the YAML file
    sets: Sequence[str]  # --set, for both scripts
    model: str  # MODEL.name
    what: str  # the digest of everything that the run depends on

    @property
    def checkpoints(self) -> Path:
        """Return the folder that train.py saves to."""
        return self.folder / "checkpoints"

    def known(self) -> dict | None:
        """Return the figures of a finished run, or None. Raises InputError if the folder belongs to another run."""
        path = self.folder / NAME
        if not path.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise InputError(f"{self.folder}: holds other files: name another folder by --out=DIR")
            return None
        with os_errors(InputError, f"{path}: cannot be read"):
            try:
                found = json.loads(path.read_text("utf-8"))
                what, figures = found["what"], found.get("figures")
            except (ValueError, KeyError, TypeError, AttributeError):
                raise InputError(f"{path}: damaged: remove {self.folder} and run again") from None
        if what != self.what:
            raise InputError(
                f"{self.folder}: is a run with another configuration, other lists or other weights to start from: "
                "name another folder by --out=DIR"
            )
        return figures

    def make(self, others: Sequence["PlannedRun"] = ()) -> dict:
        """Run or resume, and return the figures. Raises InputError or RunError if it fails.

        others: finished runs over the same lists; their features of a frozen network are reused.
        """
        started = time.monotonic()
        self.folder.mkdir(exist_ok=True)
        write_text(self.folder / NAME, json.dumps({"what": self.what}) + "\n")
        checkpoints, evaluation = self.checkpoints, self.folder / "evaluation"
        sets = [f"--set={text}" for text in self.sets]
        if not (checkpoints / f"{self.model}.pdparams").exists():  # written at the end of training
            self.take_features(others)
            how = "--resume=auto", "--fix_random_seed=True"
            self._run("train.py", f"--config={self.config}", f"--save_dir={checkpoints}", *how, *sets)
        given = f"--config={self.config}", f"--weights={checkpoints}", f"--save_dir={evaluation}"
        self._run("eval.py", *given, *sets)
        metrics = json.loads((evaluation / "metrics.json").read_text("utf-8"))
        figures = {
            "name": self.name,
            "top1_acc": metrics["top1_acc"],
            "loss": metrics["loss"],
            "videos": metrics["videos"],
            "right": round(metrics["top1_acc"] * metrics["videos"] / 100),
            "unreadable": len(metrics["unreadable"]),
            "protocol": metrics["protocol"].partition(", weights ")[0],
            "seconds": round(time.monotonic() - started, 1),
        }
        write_text(self.folder / NAME, json.dumps({"what": self.what, "figures": figures}, indent=1) + "\n")
        return figures

    def take_features(self, others: Sequence["PlannedRun"]) -> None:
        """Move the features of a finished run here, unless this run has its own.

        So they are on the disk only once. A rename is atomic, so after a kill one of the two runs has them.
        """
        ours = self.checkpoints / FEATURES
        theirs = next((one.checkpoints for one in others if (one.checkpoints / FEATURES).is_dir()), None)
        if theirs is None or ours.exists():
            return
        moving = os_errors(RunError, f"{theirs / FEATURES}: cannot be moved to {self.checkpoints}")
        with locked_folder(theirs, str(theirs)), locked_folder(self.checkpoints, str(self.checkpoints)), moving:
            (theirs / FEATURES).rename(ours)

    def _run(self, script: str, *arguments: str) -> None:
        if code := run_script(script, arguments):
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            kind = InputError if code == 2 else RunError
            raise kind(f"{self.name}: {script} {how}; run the same command again to continue with this run")


def plan_runs(config: str, out: Path, seeds: int | None, folds: int | None, sets: Sequence[str]) -> list[PlannedRun]:
    """Return a run for each seed from 1 to `seeds`, or for each fold.

    Raises InputError if lists are missing, or for many labels, which have no top-1.
    """
    loaded = load_config(config, {}, sets, "TRAIN")
    if loaded.model.labels != "single":
        raise InputError(
            f"MODEL.labels: {loaded.model.labels}: expected single, because repeat.py reports top-1: run train.py and "
            "eval.py with --set TRAIN.seed=1, 2, ... and compare their mAP"
        )
    if seeds:
        whole = {f"seed {k}": [*sets, f"TRAIN.seed={k}"] for k in range(1, seeds + 1)}
    else:
        beside = Path(loaded.train.filelist).parent
        lists = [(beside / names.train, beside / names.test) for names in fold_lists(folds + 1)]
        if lists[folds][0].exists():
            raise InputError(f"--folds={folds}: {lists[folds][0]} exists: the lists are for more folds")
        for path in (path for fold in lists[:folds] for path in fold):
            if not path.exists():
                raise InputError(f"{path}: no such list: data/make_lists.py --folds {folds} writes them")
        # No validation list: otherwise the fold's test clips would choose the epoch.
        keys = ("TRAIN.filelist", "VALID.filelist", "TEST.filelist")
        values = ((train, "", test) for train, test in lists[:folds])
        whole = {f"fold {k}": [*sets, *map("{}={}".format, keys, paths)] for k, paths in enumerate(values, start=1)}
    return [_planned(name, out / name.replace(" ", ""), config, own) for name, own in whole.items()]


def _planned(name: str, folder: Path, config: str, sets: Sequence[str]) -> PlannedRun:
    loaded = load_config(config, {}, sets, "TRAIN")
    lists = [read_section_list(loaded, section).digest for section in (loaded.train, loaded.test)]
    lists += [read_section_list(loaded, loaded.valid).digest] if loaded.valid.filelist else []
    pretrain = Path(loaded.train.pretrain).expanduser()
    start = digest(pretrain) if loaded.train.pretrain and pretrain.exists() else loaded.train.pretrain
    what = hashlib.sha256(json.dumps([loaded.dump(), lists, start]).encode()).hexdigest()
    return PlannedRun(name, folder, config, sets, loaded.model.name, what)
