"""Weights made by hand to do harm: bombs, false sizes, calls, links, and names that collide."""

import gzip
import io
import json
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np

from weight_formats import lod_tensor

MANY, MORE = 50_000, 1_000_100  # operations; our reader of pickles stops after a million
DEEP = 200_000  # levels, enough for any recursion to run out of stack
P = b"\x80\x02"  # the beginning of a pickle of protocol 2
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
FLOAT32 = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
STRING = b"X\x00\x00\x10\x00" + b"a" * (1 << 20)  # 1 MB


def shared_by(arrays: int) -> bytes:
    """Return arrays of 4 MB each, all made from the one string of Python 2 in the file."""
    data = b"T" + struct.pack("<i", 4_000_000) + bytes(4_000_000) + b"q\x05"
    shape = b"(K\x01J" + struct.pack("<i", 1_000_000) + b"\x85"
    entries = b"".join(b"U\x04%04d" % i + ARRAY + shape + FLOAT32 + b"\x89h\x05tb" for i in range(arrays))
    return P + b"}(U\x01z" + data + entries + b"u."


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(*shape: int, dtype: str = "F32", begin: int = 0, end: int = 0) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def described(*dims: int, data: bytes = b"") -> bytes:
    """Return a LoDTensor file that declares a shape."""
    header = b"\x08\x05"
    for size in dims:
        header += b"\x10"
        while size > 127:
            header, size = header + bytes([size & 127 | 128]), size >> 7
        header += bytes([size])
    return struct.pack("<IQIi", 0, 0, 0, len(header)) + header + data


def member(name: str, data: bytes = b"", **fields: object) -> bytes:
    """Return a member of a tar archive."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


def tar_gz(*members: bytes) -> bytes:
    return gzip.compress(b"".join(members) + bytes(1024), 1)


def bomb() -> bytes:
    """Return an archive of 1 MB that unpacks to 256 MB of zeros."""
    file = io.BytesIO()
    with gzip.open(file, "wb", compresslevel=1) as packed:
        packed.write(member("conv1_weights", b"", size=1 << 28))
        for _ in range(256):
            packed.write(bytes(1 << 20))
    return file.getvalue()


def folders(count: int) -> bytes:
    """Return an archive of folders whose names do not compress."""
    names = random.Random(0)
    return tar_gz(*(member(names.randbytes(16).hex(), type=tarfile.DIRTYPE) for _ in range(count)))


def torch_zip(pickled: bytes, stored: bytes = b"", members: int = 1, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a PyTorch file of a pickle and one storage under `members` names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
        archive.writestr("x/data.pkl", pickled)
        for number in range(members):
            archive.writestr(f"x/data/{number}", stored)
    return file.getvalue()


def listed_again(archive: bytes, times: int) -> bytes:
    """Return the archive with its table of contents repeated `times` times."""
    start, end = archive.index(b"PK\1\2"), archive.index(b"PK\5\6")
    table = archive[start:end] * times
    count = 2 * times  # it has two members
    large = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(table), start)
    where = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(table), 1)
    last = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return archive[:start] + table + large + where + last


def torch_tensors(count: int, size: int, stored: int, stride: int = 1) -> bytes:
    """Return the pickle of `count` tensors that share one storage of `stored` numbers."""
    place = b"(U\7storagectorch\nFloatStorage\nU\0010U\3cpuJ" + struct.pack("<i", stored) + b"tQ"
    shape = b"K\0(J" + struct.pack("<i", size) + b"t(J" + struct.pack("<i", stride) + b"t"
    entries = b"".join(b"U\x06%06dctorch._utils\n_rebuild_tensor\n(h\0" % i + shape + b"tR" for i in range(count))
    return P + place + b"q\0" + b"}(" + entries + b"u."


GOOD = lod_tensor(np.ones(1, "float32"))
MAGIC = P + b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
TORCH = "not a PyTorch file of weights: "
TUPLE = "not a pickle of weights: it holds a tuple, expected a dictionary of arrays"
DAMAGED = "not a pickle of weights: it is damaged"
SHAPE = "has no proper shape and place"
# Name of the file, its bytes (a dictionary: the files of a folder; a number: the size of a sparse file), and the
# beginning of the reason why it is refused ("" if it is read).
Contents = bytes | int | dict[str, bytes | int]
CASES: dict[str, tuple[str, Callable[[], Contents], str]] = {
    "dictionaries without end": ("w.pdparams", lambda: P + b"(" + b"}" * MANY + b"t.", TUPLE),
    "tuples in tuples": ("w.pdparams", lambda: P + b"N" + b"\x85" * DEEP + b".", TUPLE),
    "lists in lists": (
        "w.pdparams", lambda: P + b"]" * (DEEP // 2) + b"a" * (DEEP // 2 - 1) + b".",
        "not a pickle of weights: it holds a list",
    ),
    "nothing but a stack": ("w.pdparams", lambda: P + b"]" * MANY, DAMAGED),
    "marks": (
        "w.pdparams", lambda: P + b"(" * MORE, "not a pickle of weights: it has more than 1000000 operations",
    ),
    "a list of itself": (
        "w.pdparams", lambda: P + b"]q\0" + b"h\0a" * MANY + b".", "not a pickle of weights: it holds a list",
    ),
    "a memo of everything": (
        "w.pdparams",
        lambda: P + b"N" + b"".join(b"r" + struct.pack("<I", i) for i in range(MANY)) + b".",
        "not a pickle",
    ),
    "one string many times": ("w.pdparams", lambda: P + STRING + b"q\0(" + b"h\0" * MANY + b"t.", TUPLE),
    "one string as bytes many times": (
        "w.pdparams",
        lambda: P + b"c_codecs\nencode\nq\0" + STRING + b"q\1U\6latin1q\2" + b"h\0h\1h\2\x86R" * 1000 + b".",
        "not a pickle of weights: it uses the same bytes many times",
    ),
    "one string as many arrays": (
        "w.pdparams", lambda: shared_by(500), "not a pickle of weights: it uses the same bytes many times",
    ),
    "a string of 2**62 bytes": ("w.pdparams", lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"N.", DAMAGED),
    "a number of five million digits": ("w.pdparams", lambda: b"L" + b"9" * 5_000_000 + b"L\n.", DAMAGED),
    "an operation without end": ("w.pdparams", lambda: b"V" + b"a" * 5_000_000, DAMAGED),
    "a call": ("w.pdparams", lambda: b"cos\nsystem\n(S'exit 1'\ntR.", "not a pickle of weights: it calls 'os.system'"),
    "a call that clears the screen": (
        "w.pdparams", lambda: b"cfoo\x1b[2J\nbar\n.", "not a pickle of weights: it calls 'foo\\x1b[2J.bar'",
    ),
    "a key that clears the screen": (
        "w.pdparams", lambda: P + b"}U\4\n\x1b[2Ns.", "not a pickle of weights: '\\n\\x1b[2' is a NoneType",
    ),
    "100 GB of nothing": ("w.pdparams", lambda: 100 << 30, "larger than 4 GB"),
    "100 GB of a variable": ("", lambda: {"a": GOOD, "b": 100 << 30}, "larger than 4 GB"),
    "JSON of lists": (
        "w.safetensors", lambda: safetensors(b'{"a":[' + b"[]," * 1_000_000 + b"1]}"),
        f"not a safetensors file of weights: 'a' {SHAPE}",
    ),
    "JSON beyond need": (
        "w.safetensors", lambda: safetensors(b" " * 20_000_000 + b"{}"),
        "not a safetensors file of weights: its header is damaged",
    ),
    "JSON in JSON": (
        "w.safetensors", lambda: safetensors(b"[" * 90_000), "not a safetensors file of weights: its header is damaged",
    ),
    "a tensor twice": (
        "w.safetensors", lambda: safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(entry(0)).encode(),) * 2)),
        "not a safetensors file of weights: its header names something twice",
    ),
    "no bytes of 2**78 numbers": (
        "w.safetensors", lambda: safetensors({"a": entry(0, 2**39, 2**39)}),
        f"not a safetensors file of weights: 'a' {SHAPE}",
    ),
    "two tensors in one place": (
        "w.safetensors", lambda: safetensors({"a": entry(2, end=8), "b": entry(2, end=8)}, bytes(8)),
        "not a safetensors file of weights: its header does not fit its data",
    ),
    "more bytes than there are": (
        "w.safetensors", lambda: safetensors({"a": entry(2**37, end=2**39)}),
        "not a safetensors file of weights: its header does not fit its data",
    ),
    "bytes between tensors": (
        "w.safetensors", lambda: safetensors({"a": entry(2, end=8), "b": entry(2, begin=9, end=17)}, bytes(17)),
        "not a safetensors file of weights: its header does not fit its data",
    ),
    "megabytes behind the tensors": (
        "w.safetensors", lambda: safetensors({"a": entry(2, end=8)}, bytes(1 << 25)),
        "not a safetensors file of weights: its header does not fit its data",
    ),
    "a shape without end": (
        "w.safetensors",
        lambda: safetensors({"a": entry(*[0] * 2_000_000)}),
        f"not a safetensors file of weights: 'a' {SHAPE}",
    ),
    "no bytes of a huge variable": (
        "", lambda: {"a": described(0, 2**39, 2**39)}, "a is no variable of Paddle's: its header declares",
    ),
    "a huge variable of four bytes": (
        "", lambda: {"a": described(2**39, data=bytes(4))}, "a is no variable of Paddle's: it declares",
    ),
    "a bomb": (
        "w.tar.gz", lambda: bomb(),
        "its member 'conv1_weights' declares 268435456 bytes, far more than the archive has",
    ),
    "a bomb in a bomb": ("w.tar.gz", lambda: gzip.compress(bomb()), "a damaged archive: "),
    "folders without end": ("w.tar.gz", lambda: folders(20_000), "it has more than 10000 members"),
    "a way out": ("w.tar.gz", lambda: tar_gz(member("../a", GOOD)), "its member '../a' leaves the folder"),
    "a way to the root": ("w.tar.gz", lambda: tar_gz(member("/a", GOOD)), "its member '/a' leaves the folder"),
    "a link": (
        "w.tar.gz", lambda: tar_gz(member("a", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "its member 'a' is a link",
    ),
    "a hard link": (
        "w.tar.gz", lambda: tar_gz(member("a", GOOD), member("b", type=tarfile.LNKTYPE, linkname="a")),
        "its member 'b' is a link",
    ),
    "a name that clears the screen": (
        "w.tar.gz", lambda: tar_gz(member("a\n\x1b[2J", b"x")), "'a\\n\\x1b[2J' is no variable of Paddle's",
    ),
    "one name in two folders": (
        "w.tar.gz", lambda: tar_gz(member("x/a\n", GOOD), member("y/a\n", GOOD)), "'a\\n' is there twice",
    ),
    "a header per header": (
        "w.tar", lambda: member("x", bytes(512), type=tarfile.GNUTYPE_LONGNAME) * 3000, "a damaged archive: ",
    ),
    "headers for all that follows": (
        "w.tar", lambda: tarfile.TarInfo.create_pax_global_header({"k": "v" * 300}) * 10_000, "a damaged archive: ",
    ),
    "many headers for one": (
        "w.tar", lambda: member("x", pax_headers={f"k{i}": "v" for i in range(50_000)}) + bytes(1024),
        "x is no variable",
    ),
    "a tensor out of nothing": (
        "w.pth", lambda: torch_zip(torch_tensors(1, 2**31 - 1, 1, stride=0), bytes(4)),
        TORCH + "'000000' reaches beyond the numbers",
    ),
    "a tensor many times": (
        "w.pth", lambda: torch_zip(torch_tensors(1000, 250_000, 250_000), bytes(1_000_000)),
        TORCH + "it uses the same bytes many times",
    ),
    "a storage read many times": (
        "w.pth", lambda: torch_zip(torch_tensors(5000, 1, 5_000_000), bytes(20_000_000)), "",
    ),
    "a compressed storage": (
        "w.pth", lambda: torch_zip(torch_tensors(1, 2, 1 << 26), bytes(1 << 28), compression=zipfile.ZIP_DEFLATED),
        TORCH + "its members are larger than the file",
    ),
    "members without end": (
        "w.pth", lambda: listed_again(torch_zip(b"", members=1), 51_000), TORCH + "it has more than 100000 members",
    ),
    "objects without end": (
        "w.pth", lambda: torch_zip(P + b"c\nx\nq\0)q\1(" + b"h\0h\1\x81" * MANY + b"t."), TORCH + "it holds a 'tuple'",
    ),
    "objects in objects": (
        "w.pth", lambda: torch_zip(P + b"c\nx\nq\0" + b"h\0\x85h\0\x93" * 2 + b"." + b"x"), TORCH + "it is damaged",
    ),
    "tuples as keys": (
        "w.pth", lambda: torch_zip(P + b"}N" + b"\x85" * DEEP + b"Ns."), TORCH + "it holds no tensors by name",
    ),
    "one name of a class many times": (
        "w.pth",
        lambda: torch_zip(P + STRING + b"q\0(" + b"h\0h\0\x93" * 2 * MANY + b"t."),
        TORCH + "it holds a 'tuple'",
    ),
    "pairs many times": (
        "w.pth",
        lambda: torch_zip(
            P + b"ccollections\nOrderedDict\nq\0](" + b"NN\x86" * 50_000 + b"e\x85q\1(" + b"h\0h\1R" * 10_000 + b"t."
        ),
        TORCH + "it uses the same bytes many times",
    ),
    "a layout without end": (
        "w.pth", lambda: MAGIC + P + b"N." * 2 + P + b"(" * MANY, TORCH + "it is damaged",
    ),
    "storages of nothing": (
        "w.pth",
        lambda: MAGIC + P + b"N." + P + b"}." + torch_tensors(1, 1, 2**31 - 1)
        + P + b"]U\0010a." + bytes(8),
        TORCH + "its storage '0' is damaged",
    ),
}  # fmt: skip
