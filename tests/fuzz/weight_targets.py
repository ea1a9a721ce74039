"""Targets that read weights of every format and checkpoints, for a network of a few small parameters."""

import gzip
import hashlib
import io
import json
import pickle
import random
import tarfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from fuzz.hostile_weights import CASES
from fuzz.mutations import mutated
from fuzz.target import FIXTURES, Target
from fuzz.text_targets import mutated_text
from models.weights.reading import read_weights
from training.checkpoint import check_files, find_checkpoint, read_momentum
from utils.errors import InputError
from weight_formats import lod_tensor, python2_pickle, torch_older, torch_zip


class _Tensor:
    stop_gradient = False

    def __init__(self, *shape: int):
        self.shape = shape
        self.value: np.ndarray | None = None

    def set_value(self, array: np.ndarray) -> None:
        self.value = array


class _Model:
    """What loading uses of a network, with a few small parameters under the names of ours."""

    backbone_prefix, classifier_prefix = "backbone.", "fc."
    num_layers, num_classes, variant, shifts = 18, 3, "resnet", False

    def __init__(self):
        norm = {f"backbone.bn1.{part}": _Tensor(4) for part in ("weight", "bias", "_mean", "_variance")}
        classifier = {"fc.weight": _Tensor(5, 3), "fc.bias": _Tensor(3)}
        self.tensors = {"backbone.conv1.weight": _Tensor(4, 3, 2, 2), **norm, **classifier}

    def state_dict(self) -> dict[str, _Tensor]:
        return self.tensors


_FLUID = {
    "conv1_weights": (4, 3, 2, 2), "bn_conv1_scale": (4,), "bn_conv1_offset": (4,), "bn_conv1_mean": (4,),
    "bn_conv1_variance": (4,), "fc_0.w_0": (5, 3), "fc_0.b_0": (3,),
}  # fmt: skip
_TORCH = {
    "conv1.weight": (4, 3, 2, 2), "bn1.weight": (4,), "bn1.bias": (4,), "bn1.running_mean": (4,),
    "bn1.running_var": (4,), "fc.weight": (3, 5), "fc.bias": (3,),
}  # fmt: skip
_OURS = {name: tensor.shape for name, tensor in _Model().tensors.items()}
_TRAINED = {name: shape for name, shape in _OURS.items() if not name.endswith(("_mean", "_variance"))}


def _state(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: np.full(shape, 0.5, "float32") for name, shape in shapes.items()}


def weights() -> Target:
    """Break every format and load it: it sets all parameters, to finite numbers, or none."""
    from models.weights.fitting import load_weights  # imports paddle, which the other targets do without

    fluid, ours = _state(_FLUID), _state(_OURS)
    pickles = [pickle.dumps(state, protocol) for state in (fluid, ours) for protocol in (1, 2, 4)]
    paddle_2 = {name: (name, array) for name, array in ours.items()} | {"StructuredToParameterName@@": {}}
    pickles += [python2_pickle(fluid), pickle.dumps(paddle_2, 2)]
    tensors = [save(_state(_TORCH)), save({k: v.astype("float16") for k, v in ours.items()}, {"format": "np"})]
    torch_states = [{"meta": {"epoch": "3"}, "state_dict": _state(_TORCH)}, _state(_TORCH)]
    torch_files = [make(state) for make in (torch_zip, torch_older) for state in torch_states]
    torch_files += [(FIXTURES / "weights" / f"torch_2.13{name}.pth").read_bytes() for name in ("", "_older_layout")]
    seeds_of = {"w.pdparams": pickles, "w.safetensors": tensors, "w.pth": torch_files}
    variables = {name: [lod_tensor(array), lod_tensor(array, packed=True)] for name, array in fluid.items()}

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        kind = rng.choice(("w.pdparams", "w.pdparams", "w.safetensors", "w.pth", "w.pth", "folder", "tar", "tar.gz"))
        if kind in seeds_of:
            path = folder / kind
            path.write_bytes(mutated(rng.choice(seeds_of[kind]), rng, seeds_of[kind]))
            return path
        contents = {name: rng.choice(both) for name, both in variables.items()}
        victim = rng.choice(list(contents))
        if kind == "folder" or rng.random() < 0.3:
            contents[victim] = mutated(contents[victim], rng, list(contents.values()))
        if kind == "folder":
            for name, data in contents.items():
                (folder / name).write_bytes(data)
            return folder
        path = folder / f"w.{kind}"
        _archive(path, contents, rng)
        return path

    def read(path: Path, rng: random.Random) -> None:
        model = _Model()
        pretrain = rng.random() < 0.3
        load_weights(model, path, pretrain)
        for name, tensor in model.tensors.items():
            if tensor.value is None:
                assert pretrain and name.startswith("fc.")
            else:
                assert tensor.value.shape == tensor.shape and tensor.value.dtype == np.float32
                assert np.isfinite(tensor.value).all()

    return Target(write, read, (InputError,), memory=200)


def hostile_weights() -> Target:
    """Return the hand-made cases, in their order."""

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        name, make, _ = list(CASES.values())[number % len(CASES)]
        contents = make()
        for part, data in contents.items() if isinstance(contents, dict) else [(name, contents)]:
            with open(folder / part, "wb") as file:
                file.truncate(data) if isinstance(data, int) else file.write(data)
        return folder / name

    def read(path: Path, rng: random.Random) -> None:
        read_weights(path)

    return Target(write, read, (InputError,), memory=300)


def _archive(path: Path, contents: dict[str, bytes], rng: random.Random) -> None:
    """Write a tar or tar.gz, sometimes broken before or after its compression."""
    file = io.BytesIO()
    tar_format = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(f"resnet/{name}")
            member.size = len(data)
            if rng.random() < 0.05:
                field = rng.choice(("path", "size", "linkpath", "GNU.sparse.map"))
                member.pax_headers = {field: rng.choice(("9" * 30, "../x", "-1", "a\nb"))}
            archive.addfile(member, io.BytesIO(data))
    data = file.getvalue()
    if rng.random() < 0.5:
        data = mutated(data, rng)
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
        if rng.random() < 0.5:
            data = mutated(data, rng)
    path.write_bytes(data)


# JSON that may stand in place of a number or a word.
_STRANGE = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 4000, b"9" * 400, b"true", b"null", b"[" * 3000, b'"a\\nb"',
    b'"\\ud800"', b"{}", b"-1",
)  # fmt: skip


def checkpoints() -> Target:
    """Break manifests and momentum; a manifest has the digest of the broken momentum, so that it is loaded."""
    momentum = pickle.dumps(_state(_TRAINED), 4)
    progress = {"epoch": 1, "step": 2, "seed": 3, "videos": 10, "batch_size": 4, "best_top1": 50.0, "best_epoch": 0}

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        prefix = folder / "TSN_epoch1"
        optimizer = mutated(momentum, rng) if rng.random() < 0.6 else momentum
        contents = {".pdparams": b"weights", ".pdopt": optimizer}
        files = {prefix.name + suffix: hashlib.sha256(data).hexdigest() for suffix, data in contents.items()}
        about = {"model": {"name": "TSN"}, "train": {"epoch": 3}, "config": "", "versions": {}}
        manifest = {"format": 1, "saved_at": 1e9, "progress": progress, **about, "files": files}
        manifest = json.dumps(manifest, indent=1).encode()
        if rng.random() < 0.6:
            manifest = mutated_text(manifest, rng)
        elif rng.random() < 0.5:
            old = rng.choice((b"1000000000.0", b"50.0", b": 2", b": 3", b'"TSN"', b'"epoch"', b'{"name": "TSN"}'))
            new = rng.choice(_STRANGE)
            manifest = manifest.replace(old, new)
        for suffix, data in (*contents.items(), (".json", manifest)):
            (folder / f"TSN_epoch1{suffix}").write_bytes(data)
        return prefix

    def read(path: Path, rng: random.Random) -> None:
        checkpoint, torn = find_checkpoint(rng.choice(("auto", str(path), str(path.parent))), str(path.parent))
        assert all("\n" not in line and len(line) < 1000 for line in torn)
        if checkpoint is None:
            return
        check_files(checkpoint)
        assert abs(checkpoint.saved_at) < 1e18 and abs(checkpoint.progress.best_top1) < 1e9
        model = _Named()
        for array in read_momentum(checkpoint.prefix, model).values():
            assert array.dtype == np.float32 and np.isfinite(array).all()

    return Target(write, read, (InputError,), memory=200)


class _Named:
    """What an optimizer's state uses of a network."""

    def named_parameters(self) -> list[tuple[str, _Tensor]]:
        return [(name, _Tensor(*shape)) for name, shape in _TRAINED.items()]
