"""Archives are unpacked inside their folder, or not at all."""

import gzip
import io
import os
import tarfile

import numpy as np
import pytest

from conftest import says
from models.weights.archive import extract, is_archive
from utils.errors import FormatError


def archive_of(path, *members: tuple[str, dict], mode: str = "w:gz", data: bytes = b"1234"):
    """Write an archive; each member is (name, fields of its header that differ)."""
    with tarfile.open(path, mode) as archive:
        for name, fields in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_files_come_out_where_they_belong(mode, tmp_path):
    folder = ("top", {"type": tarfile.DIRTYPE, "size": 0})
    path = archive_of(tmp_path / "a", folder, ("top/x", {}), ("./top/in/y", {"mode": 0}), mode=mode)
    (tmp_path / "out").mkdir()
    assert is_archive(path)
    extract(path, tmp_path / "out")
    files = sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert files == ["top/in/y", "top/x"]
    assert (tmp_path / "out/top/in/y").read_bytes() == b"1234"


LINK = "is a link or a device"
LEAVES = "leaves the folder"


@pytest.mark.parametrize(
    "name, fields, shown, reason",
    [
        ("../escaped", {}, "'../escaped'", LEAVES),
        ("a/../../escaped", {}, "'a/../../escaped'", LEAVES),
        ("/tmp/escaped", {}, "'/tmp/escaped'", LEAVES),
        ("..", {"type": tarfile.DIRTYPE}, "'..'", LEAVES),
        ("nul\0", {"pax_headers": {"path": "nul\0"}}, "'nul\\x00'", LEAVES),
        ("..\\escaped", {}, "'..\\\\escaped'", LEAVES),
        ("C:escaped", {}, "'C:escaped'", LEAVES),
        ("link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "'link'", LINK),
        ("link", {"type": tarfile.LNKTYPE, "linkname": "../x"}, "'link'", LINK),
        ("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "'null'", LINK),
        ("pipe", {"type": tarfile.FIFOTYPE}, "'pipe'", LINK),
    ],
)
def test_what_leaves_the_folder_is_refused(name, fields, shown, reason, tmp_path):
    path = archive_of(tmp_path / "a.tar.gz", (name, fields | ({"size": 0} if "type" in fields else {})))
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError) as error:
        extract(path, tmp_path / "out")
    says(error.value, f"its member {shown} ", reason, "not to be trusted")
    assert not list((tmp_path / "out").iterdir()) and not (tmp_path / "escaped").exists()


def test_a_declared_size_beyond_reason_is_refused_before_reading(tmp_path):
    member = tarfile.TarInfo("conv1_weights")
    member.size = 1 << 40
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(member.tobuf() + bytes(1024)))
    with pytest.raises(FormatError) as error:
        extract(tmp_path / "a.tar.gz", tmp_path)
    says(error.value, "its member 'conv1_weights' ", "1099511627776 bytes", "more than the archive has")


@pytest.mark.parametrize("kind", ["many files", "a header"])
def test_a_bomb_stops_early(kind, tmp_path):
    """The bomb is 64 MB of zeros in 0.3 MB: as members that are each small enough, and as one extended header."""
    with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=1) as file:
        if kind == "a header":
            header = tarfile.TarInfo("x")
            header.type, header.size = tarfile.XHDTYPE, 1 << 26
            file.write(header.tobuf())
        for number in range(64):
            if kind == "many files":
                member = tarfile.TarInfo(f"file{number}")
                member.size = 1 << 20
                file.write(member.tobuf())
            file.write(bytes(1 << 20))
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError) as error:
        extract(tmp_path / "bomb.tar.gz", tmp_path / "out")
    says(error.value, "it grows ", "more than 10 times its size")
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) < 10 << 20


def test_damage_is_an_archive_error(tmp_path):
    """A file broken by a download raises no other exception."""
    noise = np.random.default_rng(0).bytes(20000)
    good = {}
    for mode in ("w:gz", "w"):
        good[mode] = archive_of(tmp_path / "good", ("x", {}), ("y", {}), mode=mode, data=noise).read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for number in range(300):
        data = bytearray(good["w:gz" if number % 2 else "w"])
        for position in random.integers(0, len(data), 20):
            data[position] = random.integers(256)
        (tmp_path / "bad").write_bytes(data[: random.integers(1, len(data))])
        out = tmp_path / f"out{number}"
        out.mkdir()
        try:
            extract(tmp_path / "bad", out)
        except FormatError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("names", [("a/x", "a/x"), ("a", "a/x"), ("a/x", "a")])
def test_a_member_does_not_replace_another(names, tmp_path):
    path = archive_of(tmp_path / "a.tar", *((name, {}) for name in names), mode="w")
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError) as error:
        extract(path, tmp_path / "out")
    assert str(error.value) == f"its member {names[1]!r} is there twice"


def test_a_chain_of_headers_is_damage(tmp_path):
    """Python reads the header after a long name by recursion."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 512
    (tmp_path / "a.tar").write_bytes((header.tobuf() + b"y".ljust(512, b"\0")) * 3000)
    with pytest.raises(FormatError, match="a damaged archive: "):
        extract(tmp_path / "a.tar", tmp_path)


def test_other_files_are_no_archives(tmp_path):
    for content in (b"", b"\x80\x02}.", os.urandom(600)[:1] + bytes(599)):
        (tmp_path / "file").write_bytes(content)
        assert not is_archive(tmp_path / "file")
