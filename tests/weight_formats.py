"""A ResNet with random weights in every format that people have, written from the structure of the network.

It shares no code with models/: it spells all names a second time. As a program, it writes a file in the original's
format: `python tests/weight_formats.py TSN.pdparams --num_classes 400`.
"""

import argparse
import io
import pickle
import struct
import tarfile
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


@dataclass
class Unit:
    """A convolution and its batch normalisation."""

    stage: int  # 2 to 5 as in the paper's conv2_x; 1 for the stem
    block: int  # for a ResNet-vd's stem, the number of the convolution
    role: str  # "stem", "short", or "0", "1", "2" in a block
    shape: tuple[int, int, int, int]


def units(num_layers: int, seglen: int = 1, vd: bool = False) -> list[Unit]:
    """Return every convolution of the network, in order."""
    found = [Unit(1, 0, "stem", (64, 3 * seglen, 7, 7))]
    if vd:
        shapes = [(32, 3 * seglen, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]
        found = [Unit(1, number, "stem", shape) for number, shape in enumerate(shapes)]
    channels = 64
    for stage, count in enumerate(BLOCKS[num_layers], start=2):
        width = 16 * 2**stage
        for block in range(count):
            if num_layers < 50:
                out = width
                shapes = [(width, channels, 3, 3), (width, width, 3, 3)]
            else:
                out = 4 * width
                shapes = [(width, channels, 1, 1), (width, width, 3, 3), (out, width, 1, 1)]
            found += [Unit(stage, block, str(number), shape) for number, shape in enumerate(shapes)]
            if block == 0 and (stage > 2 or num_layers >= 50 or vd):
                found.append(Unit(stage, block, "short", (out, channels, 1, 1)))
            channels = out
    return found


def _block_letter(unit: Unit, num_layers: int) -> str:
    if num_layers in (101, 152) and unit.stage == 4:
        return "a" if unit.block == 0 else f"b{unit.block}"
    return "abcdefgh"[unit.block]


def _fluid_names(unit: Unit, num_layers: int) -> list[str]:
    """Return the names of weight, scale, offset, mean and variance in the original's weights."""
    if unit.role == "stem" and unit.shape[-1] == 3:
        number = unit.block + 1
        return [
            f"conv1_{number}_weights",
            *(f"bnv1_{number}_{part}" for part in ("scale", "offset", "mean", "variance")),
        ]
    if unit.role == "stem":
        return ["conv1_weights", "bn_conv1_scale", "bn_conv1_offset", "bn_conv1_mean", "bn_conv1_variance"]
    branch = {"short": "branch1", "0": "branch2a", "1": "branch2b", "2": "branch2c"}[unit.role]
    place = f"{unit.stage}{_block_letter(unit, num_layers)}_{branch}"
    return [f"res{place}_weights", *(f"bn{place}_{part}" for part in ("scale", "offset", "mean", "variance"))]


def _paddlevideo_names(unit: Unit, num_layers: int, vd: bool = False) -> list[str]:
    layer = {"stem": "conv", "short": "short"}.get(unit.role, f"conv{unit.role}")
    if unit.shape[-1] == 3 and unit.role == "stem":
        layer = f"conv1_{unit.block + 1}"
    elif vd:
        layer = f"bb_{unit.stage - 2}_{unit.block}.{layer}"
    elif unit.stage > 1:
        layer = f"res{unit.stage}{_block_letter(unit, num_layers)}.{layer}"
    parts = ("weight", "bias", "_mean", "_variance")
    return [f"{layer}._conv.weight", *(f"{layer}._batch_norm.{part}" for part in parts)]


def _paddleclas_names(unit: Unit, num_layers: int) -> list[str]:
    layer = {"stem": f"stem.{unit.block}", "short": "short"}.get(unit.role, f"conv{unit.role}")
    if unit.stage > 1:
        layer = f"blocks.{sum(BLOCKS[num_layers][: unit.stage - 2]) + unit.block}.{layer}"
    return [f"{layer}.conv.weight", *(f"{layer}.bn.{part}" for part in ("weight", "bias", "_mean", "_variance"))]


def _vision_names(unit: Unit, num_layers: int, parts=("weight", "bias", "_mean", "_variance")) -> list[str]:
    if unit.role == "stem":
        number = f"1_{unit.block + 1}" if unit.shape[-1] == 3 else "1"
        conv, norm = f"conv{number}", f"bn{number}"
    else:
        inside = {"short": ("downsample.0", "downsample.1")}
        conv, norm = inside.get(unit.role) or (f"conv{int(unit.role) + 1}", f"bn{int(unit.role) + 1}")
        conv, norm = (f"layer{unit.stage - 1}.{unit.block}.{layer}" for layer in (conv, norm))
    return [f"{conv}.weight", *(f"{norm}.{part}" for part in parts)]


def _torch_names(unit: Unit, num_layers: int) -> list[str]:
    return _vision_names(unit, num_layers, ("weight", "bias", "running_mean", "running_var"))


def _mmaction2_names(unit: Unit, num_layers: int, shifts: bool = False) -> list[str]:
    layer = {"stem": "conv1", "short": "downsample", "0": "conv1", "1": "conv2", "2": "conv3"}[unit.role]
    if unit.stage > 1:
        layer = f"layer{unit.stage - 1}.{unit.block}.{layer}"
    net = "net." if shifts and unit.role == "0" else ""
    parts = ("weight", "bias", "running_mean", "running_var")
    return [f"{layer}.conv.{net}weight", *(f"{layer}.bn.{part}" for part in parts)]


def _mit_names(unit: Unit, num_layers: int) -> list[str]:
    conv, *norm = _torch_names(unit, num_layers)
    return [conv.replace("conv1.", "conv1.net.") if unit.role == "0" else conv, *norm]


# The prefix of the backbone's names in files of whole networks.
BEFORE = dict.fromkeys(("paddlevideo", "paddlevideo_vd", "mmaction2", "mmaction2_tsm"), "backbone.")
BEFORE |= {"tsn_pytorch": "module.base_model.", "mit_tsm": "module.base_model."}
_TRANSPOSED = ("torch", "mmaction2", "mmaction2_tsm", "tsn_pytorch", "mit_tsm")
# family -> (function for the names of a unit's five arrays, names of the classifier's two)
NAMES = {
    "fluid": (_fluid_names, ("fc_0.w_0", "fc_0.b_0")),
    "paddlevideo": (_paddlevideo_names, ("head.fc.weight", "head.fc.bias")),
    "paddleclas": (_paddleclas_names, ("fc.weight", "fc.bias")),
    "vision": (_vision_names, ("fc.weight", "fc.bias")),
    "torch": (_torch_names, ("fc.weight", "fc.bias")),
    "paddlevideo_vd": (partial(_paddlevideo_names, vd=True), ("head.fc.weight", "head.fc.bias")),
    "mmaction2": (_mmaction2_names, ("cls_head.fc_cls.weight", "cls_head.fc_cls.bias")),
    "tsn_pytorch": (_torch_names, ("module.new_fc.weight", "module.new_fc.bias")),
    "mit_tsm": (_mit_names, ("module.new_fc.weight", "module.new_fc.bias")),
    "mmaction2_tsm": (partial(_mmaction2_names, shifts=True), ("cls_head.fc_cls.weight", "cls_head.fc_cls.bias")),
}


def unit_names(unit: Unit, num_layers: int, family: str) -> list[str]:
    """Return a family's names of a unit's weight, scale, offset, mean and variance."""
    return NAMES[family][0](unit, num_layers)


def random_state(
    num_layers: int = 50,
    num_classes: int = 400,
    seed: int = 0,
    seglen: int = 1,
    vd: bool = False,
    narrow: bool = False,
) -> dict[str, np.ndarray]:
    """Return float32 arrays of a whole TSN under the original's names, with which activations stay of order 1.

    narrow: for the networks of narrow.py.
    """
    random = np.random.default_rng(seed)
    state = {}
    for unit in units(num_layers, seglen, vd):
        shape = narrow_shape(unit.shape) if narrow else unit.shape
        out, fan_in = shape[0], np.prod(shape[1:])
        last = unit.role == ("2" if num_layers >= 50 else "1")
        arrays = [
            random.standard_normal(shape, "float32") * np.float32((2 / fan_in) ** 0.5),
            random.uniform(0.1, 0.3, out) if last else random.uniform(0.5, 1.5, out),
            random.normal(0, 0.1, out),
            random.normal(0, 0.1, out),
            random.uniform(0.5, 1.5, out),
        ]
        state |= {name: a.astype("float32") for name, a in zip(_fluid_names(unit, num_layers), arrays)}
    features = (512 if num_layers < 50 else 2048) // (8 if narrow else 1)
    limit = features**-0.5
    state["fc_0.w_0"] = random.uniform(-limit, limit, (features, num_classes)).astype("float32")
    state["fc_0.b_0"] = random.uniform(-limit, limit, num_classes).astype("float32")
    return state


def narrow_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a convolution with an eighth of the channels, except for an image's (no multiple of 32)."""
    out, into, *kernel = shape
    return out // 8, into if into % 32 else into // 8, *kernel


def renamed(
    state: dict[str, np.ndarray], family: str, num_layers: int, backbone: str = "", vd: bool = False
) -> dict[str, np.ndarray]:
    """Return the arrays of `random_state` under another family's names. backbone: the prefix of the backbone's."""
    unit_names, classifier = NAMES[family]
    result = {}
    for unit in units(num_layers, vd=vd):
        theirs = (backbone + name for name in unit_names(unit, num_layers))
        result |= {new: state[old] for old, new in zip(_fluid_names(unit, num_layers), theirs)}
    weight = state["fc_0.w_0"]
    result[classifier[0]] = np.ascontiguousarray(weight.T) if family in _TRANSPOSED else weight
    result[classifier[1]] = state["fc_0.b_0"]
    return result


def write_original_pdparams(
    path: str | Path, num_layers: int = 50, num_classes: int = 400, seed: int = 0, seglen: int = 1
) -> None:
    """Write random weights as the original's TSN.pdparams: one pickle, protocol 2."""
    write_pickle(path, random_state(num_layers, num_classes, seed, seglen))


def write_pickle(path: str | Path, state: dict, protocol: int = 2) -> None:
    with open(path, "wb") as file:
        pickle.dump(state, file, protocol=protocol)


def python2_pickle(state: dict[str, np.ndarray]) -> bytes:
    """Return the bytes that cPickle of Python 2 writes for a dictionary of float32 arrays.

    Every string is a byte string.
    """

    def string(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    def integer(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)

    parts = [b"\x80\x02}q\x01("]
    for number, (name, array) in enumerate(state.items()):
        shape = b"(" + b"".join(integer(size) for size in array.shape) + b"t"
        parts += [string(name.encode()), b"r" + struct.pack("<i", 2 + number)]
        parts.append(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape)
        parts.append(b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
        parts.append(b"\x89" + string(array.tobytes()) + b"tb")
    return b"".join([*parts, b"u."])


STORAGES = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long"}  # NumPy's type -> PyTorch's name


def torch_pickle(content: dict, older: bool = False) -> tuple[bytes, dict[str, np.ndarray]]:
    """Return (the pickle that torch.save makes, its storages) of a dictionary of arrays, dictionaries, texts, `bytes`.

    `bytes` are operations of the pickle machine, copied as they are. Each array has its own storage.
    """
    storages: dict[str, np.ndarray] = {}

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    def tensor(array: np.ndarray) -> bytes:
        key = str(len(storages))
        storages[key] = array
        storage = b"ctorch\n%sStorage\n" % STORAGES[array.dtype.str[1:]].encode()
        place = b"(" + text("storage") + storage + text(key) + text("cpu") + b"J" + struct.pack("<i", array.size)
        strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
        shape = numbers(array.shape) + numbers(strides[: array.ndim])
        hooks = b"ccollections\nOrderedDict\n)R"
        end = b"NtQ" if older else b"tQ"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + place + end + b"K\0" + shape + b"\x89" + hooks + b"tR"

    def value(of: object) -> bytes:
        match of:
            case dict():
                return b"}(" + b"".join(text(name) + value(each) for name, each in of.items()) + b"u"
            case np.ndarray():
                return tensor(of)
            case str():
                return text(of)
        return of

    return b"\x80\x02" + value(content) + b".", storages


def torch_zip(content: dict, byteorder: bytes = b"little") -> bytes:
    """Return the bytes of torch.save(content) since PyTorch 1.6. content: see `torch_pickle`."""
    pickled, storages = torch_pickle(content)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickled)  # dated 1980, so the bytes are always the same
        archive.writestr(zipfile.ZipInfo("archive/byteorder"), byteorder)
        for key, array in storages.items():
            archive.writestr(zipfile.ZipInfo(f"archive/data/{key}"), array.tobytes())
        archive.writestr(zipfile.ZipInfo("archive/version"), b"3\n")
    return file.getvalue()


def torch_older(content: dict, little_endian: bool = True) -> bytes:
    """Return the bytes of torch.save(content) before PyTorch 1.6. content: see `torch_pickle`."""
    pickled, storages = torch_pickle(content, older=True)
    system = {"protocol_version": 1001, "little_endian": little_endian, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [pickled, pickle.dumps(list(storages), 2)]
    for array in storages.values():
        parts += [struct.pack("<q", array.size), array.tobytes()]
    return b"".join(parts)


def lod_tensor(array: np.ndarray, packed: bool = False) -> bytes:
    """Return the bytes of one variable file of the Fluid releases."""

    def varint(value: int) -> bytes:
        low = b""
        while value > 127:
            low, value = low + bytes([value & 127 | 128]), value >> 7
        return low + bytes([value])

    data_type = {"int32": 2, "int64": 3, "float16": 4, "float32": 5, "float64": 6}[array.dtype.name]
    dims = [varint(size) for size in array.shape]
    joined = b"".join(dims)
    described = b"\x12" + varint(len(joined)) + joined if packed else b"".join(b"\x10" + size for size in dims)
    description = b"\x08" + varint(data_type) + described
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + array.tobytes()


def write_folder(folder: str | Path, state: dict[str, np.ndarray]) -> None:
    """Write one LoDTensor file per variable."""
    Path(folder).mkdir(parents=True)
    for name, array in state.items():
        (Path(folder) / name).write_bytes(lod_tensor(array))


def write_archive(path: str | Path, folder: str | Path) -> None:
    """Write the folder as .tar.gz whose members begin with its name, as in the original's download."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.add(folder, arcname=Path(folder).name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write random weights in the original's format.")
    parser.add_argument("path")
    parser.add_argument("--num_layers", type=int, default=50, choices=sorted(BLOCKS))
    parser.add_argument("--num_classes", type=int, default=400)
    parser.add_argument("--seglen", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = vars(parser.parse_args())
    write_original_pdparams(arguments.pop("path"), **arguments)
