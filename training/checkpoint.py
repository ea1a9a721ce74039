"""Save and load checkpoints: weights, optimizer and manifest, each whole or absent. A run resumes at the next step.

A checkpoint NAME is NAME.pdparams (the weights, paddle.save), NAME.pdopt (the momentum of each parameter) and
NAME.json, its manifest (training/manifest.py), with the SHA-256 of the two files. The manifest is written last, so a
checkpoint whose manifest agrees with its files is whole. With TRAIN.ema, NAME.pdparams holds the average, which all
other programs want, and NAME.pdopt also holds the weights that training goes on with.
"""

import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.manifest import SUFFIXES, Checkpoint, Progress, prefix_of, read_manifest, with_suffix, write_manifest
from utils.config.strict_yaml import one_line
from utils.errors import FormatError, InputError, RunError, os_errors
from utils.safe_pickle import read_pickle
from utils.storage.files import unfinished, write_atomic
from utils.storage.shelf import digest

OWN = "trained "  # prefix of the weights that training goes on with, if the saved weights are an average


def save_checkpoint(
    prefix: Path, model: Any, optimizer: Any, progress: Progress, about: Mapping[str, Any],
    averages: Mapping[str, Any] = {},
) -> Checkpoint:  # fmt: skip
    """Write NAME.pdparams, NAME.pdopt and NAME.json, and return the checkpoint. about: {"model", "train", ...}.

    averages: replace the weights of these names in NAME.pdparams, see training/average.py.

    Raises:
        RunError: the disk is full or the folder is gone; older checkpoints with other names are untouched.
    """
    import paddle

    known, steps = optimizer.state_dict(), stepped(model, optimizer)
    state = dict(model.state_dict()) | steps
    kept = {name: known[f"{weight.name}_velocity_0"].numpy() for name, weight in steps.items()}
    kept |= {OWN + name: state[name].numpy() for name in averages}
    digests = {}

    def write_weights(path: Path) -> None:
        path.touch()  # paddle.save would recreate a folder that somebody removed
        paddle.save(state | averages, str(path))
        digests[".pdparams"] = digest(path)
        with_suffix(prefix, ".json").unlink(missing_ok=True)  # it describes the files that are now replaced

    def write_momentum(path: Path) -> None:
        path.write_bytes(pickle.dumps(kept, protocol=4))
        digests[".pdopt"] = digest(path)

    try:
        write_atomic(with_suffix(prefix, ".pdparams"), write_weights)
        write_atomic(with_suffix(prefix, ".pdopt"), write_momentum)
        return write_manifest(prefix, progress, about, digests)
    except RunError:
        # Half a checkpoint is useless, and takes the room of another.
        if ".pdparams" in digests and not with_suffix(prefix, ".json").exists():
            remove_checkpoint(prefix)
        raise


def stepped(model: Any, optimizer: Any) -> dict[str, Any]:
    """Return the tensors that the optimizer steps, by name: trained parameters, or their float32 copies."""
    copies = optimizer.state_dict().get("master_weights", {})
    return {name: copies.get(parameter.name, parameter) for name, parameter in _trained(model)}


def copy_checkpoint(source: Checkpoint, target: Path, progress: Progress, about: Mapping[str, Any]) -> Checkpoint:
    """Copy a checkpoint to `target`, which may be its own prefix, and return the copy, now the folder's newest.

    progress, about: for the copy's manifest. With hard links, the copy takes no disk space. Raises RunError like
    `save_checkpoint`.
    """
    if source.prefix != target:
        for suffix in SUFFIXES:
            file = with_suffix(source.prefix, suffix)
            write_atomic(with_suffix(target, suffix), lambda path, file=file: _link(file, path, target))
    return write_manifest(target, progress, about, source.digests)


def _link(source: Path, temporary: Path, target: Path) -> None:
    try:
        os.link(source, temporary)
    except OSError:  # no hard links, or another file system
        shutil.copyfile(source, temporary)
    with_suffix(target, ".json").unlink(missing_ok=True)  # it describes the files that are now replaced


def remove_checkpoint(prefix: Path) -> None:
    """Delete a checkpoint's files. The manifest goes first: the rest does not pass as whole. Raises RunError."""
    for suffix in (".json", *reversed(SUFFIXES)):
        path = with_suffix(prefix, suffix)
        with os_errors(RunError, f"{path}: cannot be deleted"):
            path.unlink(missing_ok=True)


def find_checkpoint(resume: str, save_dir: str) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint that `--resume` names (None: `auto` found none), and a line on each skipped torn one.

    `resume` is `auto` (the newest whole one in save_dir), a folder (the newest whole one in it), a file or a prefix.

    Raises:
        InputError: there is no such checkpoint, or the named one is torn or from another program.
    """
    if resume != "auto" and not os.path.isdir(resume):
        if not any(os.path.exists(with_suffix(prefix_of(resume), suffix)) for suffix in (*SUFFIXES, ".json")):
            raise InputError(f"--resume={resume}: there is no such file, folder or checkpoint")
        if not os.path.exists(with_suffix(prefix_of(resume), ".json")):
            raise InputError(
                f"--resume={resume}: torn checkpoint: {prefix_of(resume).name}.json is missing; "
                f"--resume={prefix_of(resume)}.pdparams would take its weights alone and start at epoch 0"
            )
        checkpoint = read_manifest(prefix_of(resume))
        check_files(checkpoint)
        return checkpoint, []
    folder = Path(save_dir if resume == "auto" else resume)
    found, torn, lost = [], [], False
    prefixes = {prefix_of(str(path)) for suffix in SUFFIXES for path in folder.glob(f"*{suffix}")}
    for prefix in sorted(prefixes):
        try:
            found.append(read_manifest(prefix))
        except InputError as error:
            torn.append(str(error))
            # A torn checkpoint without a manifest may be the run's very first one: then there is nothing to lose.
            lost |= with_suffix(prefix, ".json").exists() or re.search(r"_epoch0(_step\d+)?$", prefix.name) is None
    # Not by epoch, as the folder may hold a longer earlier run. Files are read only until one is whole.
    for checkpoint in sorted(found, key=lambda c: c.order, reverse=True):
        try:
            check_files(checkpoint)
            return checkpoint, torn
        except InputError as error:
            torn.append(str(error))
            lost = True
    if lost or resume != "auto":
        raise InputError("; ".join([f"--resume={resume}: no whole checkpoint in {folder}", *torn]))
    return None, torn


def check_files(checkpoint: Checkpoint) -> None:
    """Raise InputError if a file of the checkpoint is missing or has changed."""
    for suffix, expected in checkpoint.digests.items():
        file = with_suffix(checkpoint.prefix, suffix)
        try:
            whole = digest(file) == expected
        except FileNotFoundError:
            raise InputError(f"{checkpoint.prefix}: torn checkpoint: {file.name} is missing") from None
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from None
        if not whole:
            raise InputError(
                f"{checkpoint.prefix}: torn checkpoint: {file.name} is not the file its manifest describes"
            )


def read_momentum(prefix: Path, model: Any) -> dict[str, Any]:
    """Return the arrays of NAME.pdopt by the trained parameters' names; names with OWN have the weights for `set_own`.

    Raises InputError if they do not fit.
    """
    path = with_suffix(prefix, ".pdopt")
    try:
        momentum = read_pickle(path.read_bytes())
    except FormatError as error:
        raise InputError(f"{path}: not the momentum of a checkpoint: {error}") from None
    shapes = {name: list(parameter.shape) for name, parameter in _trained(model)}
    own = {OWN + name: list(parameter.shape) for name, parameter in model.named_parameters()}
    shapes |= {name: own[name] for name in own.keys() & momentum.keys()}
    for name, shape in shapes.items():
        if name not in momentum or list(momentum[name].shape) != shape:
            raise InputError(f"{path}: no momentum of shape {shape} for {name}")
        if momentum[name].dtype != np.float32 or not np.isfinite(momentum[name]).all():
            raise InputError(f"{path}: the momentum of {name} is not made of finite float32 numbers")
    if unknown := momentum.keys() - shapes.keys():
        raise InputError(f"{path}: momentum of unknown parameters: {one_line(', '.join(sorted(unknown)[:8]), 300)}")
    return momentum


def set_own(model: Any, momentum: Mapping[str, Any]) -> None:
    """Replace a checkpoint's averages in the model by the weights that training goes on with, if there are any."""
    for name, parameter in model.named_parameters():
        if OWN + name in momentum:
            parameter.set_value(momentum[OWN + name])


def set_momentum(optimizer: Any, model: Any, momentum: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Give a new optimizer the momentum by parameter name, and `weights` as float32 copies of low-precision ones."""
    import paddle

    state: dict[str, Any] = {}
    for name, parameter in _trained(model):
        held = parameter
        if parameter.dtype != paddle.float32:
            held = weights[name]
            held.name = f"{parameter.name}_fp32_master_0"  # Paddle's own name for it, which it looks up below
            state.setdefault("master_weights", {})[parameter.name] = held
        state[f"{held.name}_velocity_0"] = momentum[name]
    optimizer.set_state_dict(state)


def _trained(model: Any) -> list[tuple[str, Any]]:
    """Return names and parameters, without BatchNorm's statistics, which Paddle also counts as parameters."""
    return [(name, parameter) for name, parameter in model.named_parameters() if not parameter.stop_gradient]


def remove_leftovers(folder: Path) -> None:
    """Delete half-written files of a run that was killed while it saved."""
    for path in unfinished(folder, r".+\.(pdparams|pdopt|json|jsonl|yaml|html)"):
        path.unlink(missing_ok=True)
