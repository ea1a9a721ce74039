"""Train only the classifier (TRAIN.freeze_stages 5): compute the features once, because they never change.

They lie in the folder `features` of TRAIN.save_dir. Each list has a file, named after a digest of everything that the
features depend on: frozen weights, list, how clips are cut, precision. TRAIN.seed is not part of it: the views are the
same for every seed, so tools/repeat.py computes them once for all its seeds.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import paddle

from inference.cache import read_kept
from inference.eager import eager_start
from inference.graph import engine_start, open_graph, streams_and_threads
from inference.key import graph_key
from inference.network import Network
from inference.pipeline import answers
from inference.views import Output, Start, average_views, in_pieces
from models import build_model, section_model
from reader.build import build_loader, clip_spec
from reader.labels import LABELS
from reader.loader import Batch
from training.features import (
    FOLDER,
    NO_FILE,
    FeatureLoader,
    Missing,
    append_records,
    missing_jobs,
    open_records,
    put_records,
    record_type,
    records_of,
    take_in,
)  # fmt: skip
from training.remaining import Pace, features_left
from training.sources import Lists, Sources
from utils.errors import InputError, RunError
from utils.log import progress_bar, say
from utils.processes.precision import choose_precision
from utils.storage.files import writing
from utils.storage.stamps import signature

ALL_BUT_THE_CLASSIFIER = 5  # TRAIN.freeze_stages
VIEWS_SEED = 1000  # TRAIN.seed's default, which files of earlier versions have
SUFFIX = ".features"
_MODEL_KEYS = ("name", "backbone", "num_layers", "num_classes", "seg_num", "image_mean", "image_std")
OLDER_KEPT = 2  # files kept for other networks, lists or protocols


def feature_sources(
    lists: Lists, seed: int, model: paddle.nn.Layer, device: str, on_batch: Callable[[Batch], None]
) -> Sources:
    """Return the frozen features of training and validation videos. Those that are missing are computed now.

    A training video has TRAIN.feature_views random views, the same for every seed; a validation video has the views of
    VALID. on_batch: called with each batch of training videos. seed: for the order in which views are used.

    Raises:
        InputError: the disk is too small for them, or another machine's disk is.
        RunError: they cannot be written, or are not finite.
    """
    config, digest = lists.config, _digest(model)
    kept = [
        _KeptFeatures(lists, training, model, digest, device)
        for training in ([True, False] if lists.valid_entries else [True])
    ]
    if lists.world.is_main:
        _make_room(kept)
    behind = [sum(each.crops_missing() for each in kept[1:]) if lists.world.is_main else 0, 0]
    records = [each.records(on_batch, later) for each, later in zip(kept, behind)]
    loader = FeatureLoader(records[0], lists.batch_size, config.train.feature_views, seed)
    valid_loader = FeatureLoader(records[1], lists.valid_batch_size) if lists.valid_entries else None
    network = Network(_classified(model, config.valid.average), 0, "kept features")
    return Sources(loader, _TrainedHead(model), valid_loader, network)


class _TrainedHead(paddle.nn.Layer):
    """Features float32 [N, F] -> logits float32 [N, K], with the whole network's parameters."""

    def __init__(self, network: paddle.nn.Layer):
        super().__init__()
        self.network = network

    def forward(self, features):
        return self.network.classify(features)


def _classified(model: paddle.nn.Layer, average: str) -> Start:
    """Return a start function for features [N, V, F] of videos' views instead of frames."""

    def start(features: np.ndarray) -> Callable[[], Output]:
        with paddle.no_grad():
            logits = model.classify(paddle.to_tensor(features)).numpy()  # [N, V, K]
        return lambda: Output(average_views(logits, average), features)

    return start


def _digest(model: paddle.nn.Layer) -> str:
    """Return the SHA-256 of all weights except the classifier's."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        found.update(name.encode())
        found.update(np.ascontiguousarray(tensor.astype("float32").numpy()))
    return found.hexdigest()


class _KeptFeatures:
    """The features of the training list or of the validation list."""

    def __init__(self, lists: Lists, training: bool, model: paddle.nn.Layer, weights: str, device: str):
        config = lists.config
        self.config, self.world, self.model, self.weights = config, lists.world, model, weights
        self.device, self.training = device, training
        self.section = config.train if training else config.valid
        self.entries = lists.entries if training else lists.valid_entries
        self.batch_size = lists.batch_size if training else lists.valid_batch_size
        self.seed = VIEWS_SEED if training else None
        self.model_config = section_model(config.model, self.section)
        # A record is one random view of a training video, or all crops of a validation video.
        self.jobs = len(self.entries) * (config.train.feature_views if training else 1)
        number = model.backbone.num_features
        shape = (number,) if training else (self.section.crops, number)
        self.dtype = record_type(shape, LABELS[config.model.labels](config.model.num_classes).record)
        self.precision = "float32" if device == "gpu" else choose_precision("auto")
        facts = {
            "weights": weights,
            "model": [getattr(self.model_config, key) for key in _MODEL_KEYS],
            "precision": f"{self.precision} on {device}",
            "list": self.entries.digest,
            "protocol": asdict(clip_spec(self.section, self.seed)),
            "records": [self.jobs, str(self.dtype)],
        }
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        name = f"{'train' if training else 'valid'}-{key}{SUFFIX}"
        self.path = Path(config.train.save_dir) / FOLDER / name

    def crops_missing(self) -> int:
        """Return the number of crops whose features are missing."""
        return len(self._missing().jobs) * self.section.crops

    def records(self, on_batch: Callable[[Batch], None], later: int) -> np.ndarray:
        """Return a record per job, in the jobs' order. later: crops that are computed afterwards, for the time left."""
        world, part = self.world, self.path.with_name(f"{self.path.name}.rank{self.world.rank}")
        missing = world.broadcast(self._missing() if world.is_main else None)
        self._say_what_is_missing(missing)
        if number := len(missing.jobs):
            own = missing.jobs[world.rank :: world.size].tolist()
            keep = partial(put_records, self.path) if world.is_main else partial(append_records, part)
            self._compute(own, on_batch, keep, later / world.size)
            world.all_gather(None)  # now all parts are whole
            if world.is_main and (found := len(own) + self._take_in_parts()) != number:
                raise RunError(f"{self.path}: {found} of {number} records were written: run again")
            world.broadcast(None)
        if not self.path.exists():
            raise InputError(f"{self.path}: not on this machine; with freeze_stages 5 all need one TRAIN.save_dir")
        return open_records(self.path, self.dtype, self.jobs)

    def _missing(self) -> Missing:
        """Return the jobs to compute, after merging the parts that killed runs left."""
        self._take_in_parts()
        files = np.array([signature(entry.path) or NO_FILE for entry in self.entries], np.int64)
        return missing_jobs(self.path, self.dtype, self.jobs, files)

    def _take_in_parts(self) -> int:
        """Move the records that other ranks collected to their places, and return their number."""
        parts = sorted(self.path.parent.glob(f"{self.path.name}.rank*"))
        number = sum(take_in(self.path, part, self.dtype, self.jobs) for part in parts)
        whole = self.jobs * self.dtype.itemsize
        if self.path.exists() and self.path.stat().st_size > whole:
            with writing(self.path):
                os.truncate(self.path, whole)
        return number

    def _say_what_is_missing(self, missing: Missing) -> None:
        what, again = f"features of {self._description()}", missing.unreadable + missing.changed
        known = self.jobs - len(missing.jobs)
        if len(missing.jobs) > again:
            behind = f", continues after {known}" if known else ""
            say(f"{what}: computed once, in {self.precision}, and kept in {self.path}{behind}")
        else:
            say(f"{what}: kept in {self.path}")
        if again:
            why = f"{missing.unreadable} could not be read, the files of {missing.changed} have changed"
            say(f"{what}: {again} of {self.jobs} computed again: {why}")

    def _description(self) -> str:
        if self.training:
            return f"{len(self.entries)} training videos, {self.config.train.feature_views} views each"
        crops = f"{self.section.crops} crops" if self.section.crops > 1 else "1 centre crop"
        return f"{len(self.entries)} validation videos, {crops} each"

    def _compute(
        self, jobs: Sequence[int], on_batch: Callable[[Batch], None],
        keep: Callable[[Iterator[np.ndarray]], None], later: float,
    ) -> None:  # fmt: skip
        """Compute the records of `jobs` and pass them to `keep` batch by batch."""
        pace = Pace()
        loader = build_loader(
            self.config, self.section, self.entries, self.seed, batch_size=self.batch_size, world=self.world
        )
        with loader, self._network() as network, progress_bar(len(jobs), "features") as bar:

            def batches() -> Iterator[np.ndarray]:
                at = 0
                for batch, output in answers(network, loader.batches(jobs)):
                    if self.training:
                        on_batch(batch)
                    # In training, `indices` has every position asked for, with the replacements of unreadable videos.
                    number = len(batch.indices) + (0 if self.training else len(batch.unreadable))
                    asked = jobs[at : at + number]
                    at += number
                    features = output.features.reshape(-1, *self.dtype["features"].shape)
                    if not np.isfinite(features).all():
                        raise RunError("the network's features are not finite: its weights are damaged")
                    yield records_of(self.dtype, batch, features, asked, len(self.entries), self.training)
                    crops = self.section.crops
                    bar.set_postfix_str(features_left(pace, number * crops, (len(jobs) - at) * crops + later), False)
                    bar.update(number)

            keep(batches())

    @contextmanager
    def _network(self) -> Iterator[Network]:
        """Yield a network whose features are [N, V, F], the mean over each view's segments."""
        if self.device == "gpu" or not hasattr(self.model, "frame_features"):
            start = in_pieces(eager_start(self._copy(), device=self.device), self.device)
            yield Network(self._of_views(start), 1, "eager")
            return
        size = self.section.image_size
        key = graph_key(self.model_config, size, f"backbone {self.weights}", self.precision)
        how = (self.precision, self._weights_file, *streams_and_threads(self.world.ranks_here))
        engine, head, _ = open_graph(key, read_kept(key), self.model_config, size, *how)
        with closing(engine):
            yield Network(self._of_views(engine_start(engine, head)), engine.ahead, "OpenVINO")

    def _weights_file(self, folder: Path) -> Path:
        """Write the network's weights to a file in the folder, because another process makes its graph."""
        path = folder / "weights.pdparams"
        paddle.save(self.model.state_dict(), str(path))
        return path

    def _of_views(self, start: Start) -> Start:
        def start_videos(frames: np.ndarray) -> Callable[[], Output]:
            videos, _, *image = frames.shape
            wait = start(frames.reshape(videos * self.section.crops, -1, *image))

            def features() -> Output:
                logits, features = wait()
                return Output(logits, features.mean(axis=1).reshape(videos, self.section.crops, -1))

            return features

        return start_videos

    def _copy(self) -> paddle.nn.Layer:
        """Return a copy of the network without the changes that training made to its layers."""
        model = build_model(self.model_config)
        model.set_state_dict(self.model.state_dict())
        model.eval()
        return model


def _make_room(kept: Sequence[_KeptFeatures]) -> None:
    """Delete the oldest files of other networks, lists and protocols, and check that the missing features fit."""
    folder = kept[0].path.parent
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(each.path.name for each in kept)
    others = [path for path in folder.iterdir() if SUFFIX in path.name and not path.name.startswith(names)]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[OLDER_KEPT:]:
        path.unlink(missing_ok=True)
    there = sum(_bytes_taken(path) for path in folder.iterdir() if path.name.startswith(names))
    missing = sum(each.jobs * each.dtype.itemsize for each in kept) - there
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise InputError(
            f"{folder}: the features take {missing / 1e9:.1f} GB more, but {free / 1e9:.1f} GB are free: choose fewer "
            "TRAIN.feature_views or another TRAIN.save_dir"
        )


def _bytes_taken(path: Path) -> int:
    """Return the file's size on the disk, which is smaller than its length if records are still missing."""
    status = path.stat()
    return min(status.st_size, 512 * getattr(status, "st_blocks", status.st_size))
