"""The reader of archives against attackers and bombs: an InputError, and no more."""

import gzip
import struct
import tarfile
import tracemalloc
import zipfile

import pytest

from tests.archive_cases import (
    GNU,
    PAX,
    entry,
    of_each_kind,
    read,
    refused,
    write_plain,
    write_tar,
    write_zip,
)
from tf_advseg import bounded_reader

HOSTILE = {
    "up": "../a.png",
    "up inside": "set/../../a.png",
    "absolute": "/etc/a.png",
    "twice absolute": "//etc/a.png",
    "backslash": "..\\a.png",
    "drive": "C:\\a.png",
}


class TestHostile:
    @of_each_kind
    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_names_that_lead_elsewhere(self, name, write, tmp_path):
        refused(write(tmp_path / "a", [(name, b"evil")]), "relative names without")

    def test_nul_in_a_name(self, tmp_path):
        path = write_zip(tmp_path / "a", [("set/aXb.png", b"a")])
        path.write_bytes(path.read_bytes().replace(b"aXb", b"a\0b"))
        refused(path, r"'set/a\\x00b.png'")
        # The short name that zipfile makes of it is not what is asked for.
        assert read(path, lambda name: name == "set/a") == []
        info, content = entry("x", b"a", pax_headers={"path": "a\0b.png"})
        refused(write_tar(tmp_path / "b", [(info, content)], format=PAX), r"'a\\x00b.png'")

    def test_no_name_at_all(self, tmp_path):
        for name in (".", ""):
            path = write_plain(tmp_path / "a", [(name, b"")])
            refused(path, "relative names", lambda name: True)
        refused(write_zip(tmp_path / "b", [(".", b"")]), "relative names", lambda name: True)

    @pytest.mark.parametrize("mode", ["w", "w:gz"])
    @pytest.mark.parametrize(
        ("type_", "words"),
        [
            (tarfile.SYMTYPE, "a symbolic link"),
            (tarfile.LNKTYPE, "a hard link"),
            (tarfile.CHRTYPE, "a device"),
            (tarfile.BLKTYPE, "a device"),
            (tarfile.FIFOTYPE, "a pipe"),
            (b"V", "of the unknown type b'V'"),
            (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        ],
    )
    def test_wanted_that_is_no_file(self, type_, words, mode, tmp_path):
        odd = entry("a.png", type_=type_, linkname="b.png")
        path = write_tar(tmp_path / "a", [entry("b.png", b"b"), odd], mode)
        refused(path, f"'a.png' is {words}; allowed: a file")

    def test_sparse_file_of_an_extended_header(self, tmp_path):
        keys = {"GNU.sparse.major": "1", "GNU.sparse.name": "a.png"}
        odd = entry("GNUSparseFile.0/a", bytes(600), pax_headers=keys)
        path = write_tar(tmp_path / "a", [odd, entry("b.png", b"b")], format=PAX)
        refused(path, "'a.png' is a sparse file")
        assert read(path, lambda name: name == "b.png") == [("b.png", b"b")]

    def test_sparse_file_with_a_second_header(self, tmp_path):
        header = bytearray(entry("a", type_=tarfile.GNUTYPE_SPARSE)[0].tobuf(GNU))
        header[482] = 1
        header[148:156] = b"%06o\0 " % tarfile.calc_chksums(header)[0]
        second, third = bytearray(512), bytes(512)
        second[504] = 1
        rest = entry("b.png")[0].tobuf(GNU) + bytes(1024)
        (tmp_path / "a").write_bytes(header + second + third + rest)
        assert read(tmp_path / "a") == [("b.png", b"")]

    @pytest.mark.parametrize(
        ("mode", "words"), [(0o120777, "a symbolic link"), (0o020666, "a device")]
    )
    def test_link_and_device_in_a_zip(self, mode, words, tmp_path):
        info = zipfile.ZipInfo("a.png")
        info.external_attr = mode << 16
        refused(write_zip(tmp_path / "a", [(info, b"/etc/passwd")]), f"is {words}")

    @of_each_kind
    def test_a_name_twice(self, write, tmp_path):
        twice = [("set/a.png", b"1"), ("set/b", b""), ("set/./a.png", b"2"), ("set/b", b"")]
        refused(write(tmp_path / "a", twice), "'set/a.png' twice")

    @of_each_kind
    def test_bomb(self, write, tmp_path):
        # What nobody wants does not unpack from a zip, and in a tar it counts.
        path = write(tmp_path / "a", [("bomb", bytes(30_000_000)), ("a.png", bytes(500_000))])
        tracemalloc.start()
        if zipfile.is_zipfile(path):
            assert len(read(path, max_total=600_000)) == 1
        else:
            refused(path, "more than the 25000000 bytes", max_total=25_000_000)
        assert tracemalloc.get_traced_memory()[1] < 8e6
        tracemalloc.stop()
        refused(path, "bytes", lambda name: True, max_total=25_000_000)

    def test_bomb_behind_the_end_mark(self, tmp_path):
        for bomb in (bytes(30_000_000), bytes(20_000) + b"x"):
            with gzip.open(tmp_path / "a", "wb") as file:
                file.write(bytes(1024) + bomb)
            refused(tmp_path / "a", "more than the 2000|after its end mark", max_total=2_000_000)

    @pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_compression_that_unpacks_without_bounds(self, compression, tmp_path):
        path = write_zip(tmp_path / "a", [("a.png", b"a" * 1000)], compression)
        refused(path, f"compressed by method {compression}")

    def test_encrypted(self, tmp_path):
        raw = bytearray(write_zip(tmp_path / "a", [("a.png", b"abc")]).read_bytes())
        raw[raw.index(b"PK\x01\x02") + 8] |= 1
        (tmp_path / "a").write_bytes(raw)
        refused(tmp_path / "a", "'a.png' is encrypted; allowed: a file")

    @pytest.mark.parametrize("claim", [0, 10, 999, 1001, 50_000, 2**32 - 2])
    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_zip_that_lies_about_a_size(self, compression, claim, tmp_path):
        path = write_zip(tmp_path / "a", [("a.png", bytes(1000))], compression)
        raw = bytearray(path.read_bytes())
        at = raw.index(b"PK\x01\x02") + 24
        assert raw[at : at + 4] == struct.pack("<I", 1000)
        raw[at : at + 4] = struct.pack("<I", claim)
        path.write_bytes(raw)
        refused(path, r"damaged or cut off|allowed: 67108864$")

    def test_zip_with_an_endless_list_of_members(self, tmp_path, monkeypatch):
        path = write_zip(tmp_path / "a", [(f"{i}.txt", b"") for i in range(100)])
        monkeypatch.setattr(bounded_reader, "_MAX_READ", 4000)
        refused(path, "a list of members of 5[0-9]{3} bytes")

    @pytest.mark.parametrize("size", [-512, -1, -(2**62)])
    @pytest.mark.parametrize("type_", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
    def test_tar_with_a_negative_size(self, type_, size, tmp_path):
        header = entry("a.png", type_=type_)[0]
        header.size = size
        (tmp_path / "a").write_bytes(entry("b")[0].tobuf() + header.tobuf(GNU) + bytes(2048))
        refused(tmp_path / "a", "damaged or cut off: a negative size")

    @pytest.mark.parametrize("type_", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
    def test_tar_with_a_name_that_fills_the_memory(self, type_, tmp_path):
        path = write_tar(tmp_path / "a", [entry("a", bytes(2**20 + 1), type_)], "w:gz")
        refused(path, "a header of 1048577 bytes")

    def test_tar_with_endless_headers(self, tmp_path):
        # tarfile.TarFile enters itself for each.
        one = entry("a", b"b.png", tarfile.GNUTYPE_LONGNAME)
        path = write_tar(tmp_path / "a", [one] * 5000 + [entry("a", b"a")])
        assert read(path) == [("b.png", b"a")]

    @pytest.mark.parametrize(
        "payload",
        [
            b"0 path=a\n",
            b"99 path=a\n",
            b"-9 path=a\n",
            b"1_1 path=a\n",
            b"9 path=ab",
            b"11 size=-5\n",
            b"11 size=5x\n",
            b"27 size=1000000000000000000\n",
            b"5 path",
            b"1" * 100_000,
            "\u0669 path=\n".encode(),
        ],
    )
    def test_extended_headers_that_are_none(self, payload, tmp_path):
        odd = [entry("x", payload, tarfile.XHDTYPE), entry("a.png", b"a")]
        refused(write_tar(tmp_path / "a", odd), "cut off: (the number|an extended header)")
