"""The reader of archives: right bytes in order, and an InputError for whatever is hostile."""

import gzip
import os
import random
import tarfile

import pytest

from tests.archive_cases import (
    PAX,
    entry,
    is_png,
    of_each_kind,
    read,
    refused,
    write_plain,
    write_tar,
    write_tgz,
    write_zip,
)
from tf_advseg.bounded_reader import BoundedReader
from tf_advseg.data.prepare import archives
from tf_advseg.errors import InputError

NOISE = random.Random(1).randbytes(3000)
FILES = {
    "set/b.png": b"bee" * 1000,
    "set/a.png": b"",
    "set/größe 日本.png": NOISE,
    "set/notes.txt": b"not wanted",
    f"set/{'deep/' * 50}c.png": b"sea",
}
PNGS = [(name, content) for name, content in FILES.items() if name.endswith(".png")]


class TestSound:
    @of_each_kind
    def test_wanted_files_come_in_order_whatever_the_name(self, write, tmp_path):
        assert read(write(tmp_path / "archive.bin", FILES.items())) == PNGS

    def test_folder_is_sorted(self, tmp_path):
        for name, content in FILES.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        assert read(tmp_path) == sorted(PNGS)

    @of_each_kind
    def test_dots_and_doubled_slashes_are_dropped(self, write, tmp_path):
        assert read(write(tmp_path / "a", [("./x//./a.png", b"a")])) == [("x/a.png", b"a")]

    @pytest.mark.parametrize("mode", ["w", "w:gz"])
    def test_folders_links_and_devices_that_nobody_wants_are_passed_over(self, mode, tmp_path):
        odd = [
            entry("folder.png", type_=tarfile.DIRTYPE),
            entry("old_folder.png/", type_=tarfile.AREGTYPE),
            entry("new_folder.png/"),
            entry("link", type_=tarfile.SYMTYPE, linkname="/etc/passwd"),
            entry("hard", type_=tarfile.LNKTYPE, linkname="../../x"),
            entry("sized", type_=tarfile.SYMTYPE, size=700),
            entry("device", type_=tarfile.CHRTYPE),
            entry("unknown", b"V" * 600, type_=b"V"),
            entry("/absolute", b"a" * 513),
            entry("../up", b"a"),
            entry("old.png", b"old", type_=tarfile.AREGTYPE),
        ]
        assert read(write_tar(tmp_path / "a", odd, mode)) == [("old.png", b"old")]

    def test_zip_passes_over_the_encrypted_and_the_folder(self, tmp_path):
        path = write_zip(tmp_path / "a", [("secret", b"abc"), ("x.png/", b""), ("a.png", b"a")])
        raw = bytearray(path.read_bytes())
        raw[raw.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(raw)
        assert read(path) == [("a.png", b"a")]

    def test_tar_is_sought_in(self, tmp_path):
        path = write_plain(tmp_path / "a", [("large", bytes(3_000_000)), ("a.png", b"a")])
        reads = []
        original = BoundedReader.read

        class Counting(BoundedReader):
            def read(self, size=-1):
                reads.append(len(found := original(self, size)))
                return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(archives, "BoundedReader", Counting)
            assert read(path) == [("a.png", b"a")]
        assert sum(reads) < 20_000

    def test_headers_of_all_members(self, tmp_path):
        path = tmp_path / "a"
        write_tar(path, [entry("x", b"a")], format=PAX, pax_headers={"path": "b.png"})
        assert read(path) == [("b.png", b"a")]

    @of_each_kind
    def test_a_caller_may_stop_early(self, write, tmp_path):
        members = archives.read(write(tmp_path / "a", FILES.items()), is_png, title="")
        assert next(members) == PNGS[0]
        members.close()

    def test_errors_of_the_caller_stay_what_they_are(self, tmp_path):
        def broken(name):
            raise ValueError("bug")

        with pytest.raises(ValueError, match=r"^bug$"):
            read(write_plain(tmp_path / "a", [("a", b"")]), broken)

    def test_progress_is_of_the_archive_file(self, tmp_path, monkeypatch):
        shown = []
        monkeypatch.setattr(archives.Progress, "update", lambda self, done: shown.append(done))
        noise = random.Random(2).randbytes(2_500_000)
        read(write_tgz(tmp_path / "a", [("a", noise), ("b", noise)]))
        # Megabytes that are behind when a member was asked for, before it is passed over.
        assert shown == [0, 2]

    @pytest.mark.parametrize(("size", "ok"), [(100, True), (101, False)])
    @of_each_kind
    def test_limit_of_a_file(self, write, size, ok, tmp_path):
        path = write(tmp_path / "a", [("large.txt", bytes(999)), ("a.png", bytes(size))])
        if ok:
            assert read(path, max_file=100) == [("a.png", bytes(100))]
        else:
            refused(path, r"a\.png' has 101 bytes; allowed: 100", max_file=100)

    def test_limit_of_all(self, tmp_path):
        path = write_zip(tmp_path / "a", [("a.png", bytes(60)), ("b.png", bytes(40))])
        assert len(read(path, max_total=100)) == 2
        refused(path, "more than the 99 bytes", max_total=99)
        # Headers and padding of a tar count, too: 2 x (512 + 512), and the 2 end blocks' record.
        path = write_plain(tmp_path / "b", [("a.png", bytes(60)), ("b", bytes(40))])
        assert len(read(path, max_total=10240)) == 1
        refused(path, "more than the 10239 bytes", max_total=10239)


class TestFolder:
    def test_links_are_followed_only_to_files_within(self, tmp_path):
        inside, outside = tmp_path / "in", tmp_path / "out"
        inside.mkdir()
        outside.mkdir()
        (outside / "secret.png").write_bytes(b"secret")
        (inside / "a.png").write_bytes(b"a")
        (inside / "b.png").symlink_to("a.png")
        (inside / "folder").symlink_to(outside)
        (inside / "loop").symlink_to(inside)
        assert read(inside) == [("a.png", b"a"), ("b.png", b"a")]
        (inside / "c.png").symlink_to(outside / "secret.png")
        refused(inside, "'c.png' is a link out of the folder")
        (tmp_path / "link").symlink_to(inside)
        assert read(tmp_path / "link", lambda name: name == "b.png") == [("b.png", b"a")]

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (os.mkfifo, "a device or pipe"),
            (lambda path: path.symlink_to("/nowhere"), "unreadable"),
            (lambda path: path.symlink_to(path.name), "unreadable"),
        ],
    )
    def test_what_is_no_file(self, make, words, tmp_path):
        make(tmp_path / "a.png")
        refused(tmp_path, f"'a.png' is {words}")
        assert read(tmp_path, lambda name: False) == []

    def test_limits_and_names(self, tmp_path):
        (tmp_path / "a.png").write_bytes(bytes(101))
        refused(tmp_path, "has 101 bytes; allowed: 100", max_file=100)
        refused(tmp_path, "more than the 100 bytes", max_total=100)
        (tmp_path / "a.png").rename(tmp_path / "a\\b.png")
        refused(tmp_path, "relative names without")


class TestNoArchive:
    @pytest.mark.parametrize("content", [b"", b"abc", b"\x89PNG" * 500, b"BZh9" * 500])
    def test_other_files(self, content, tmp_path):
        (tmp_path / "a.tar").write_bytes(content)
        refused(
            tmp_path / "a.tar", "is no archive; allowed: a .tar, .tar.gz or .zip file, or a folder"
        )

    def test_missing_and_pipe(self, tmp_path):
        refused(tmp_path / "a.zip", "no archive")
        os.mkfifo(tmp_path / "pipe")
        refused(tmp_path / "pipe", "no archive")

    def test_gzip_of_something_else(self, tmp_path):
        (tmp_path / "a").write_bytes(gzip.compress(b"text" * 500))
        refused(tmp_path / "a", "damaged or cut off")

    def test_nothing_in_it(self, tmp_path):
        assert read(write_plain(tmp_path / "a", [])) == []
        assert read(write_zip(tmp_path / "b", [])) == []


def read_or_refuse(path, everything):
    """Reads a damaged archive; returns what it holds, or None for an InputError."""
    try:
        return read(path, lambda name: everything or is_png(name))
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return None


class TestDamage:
    @of_each_kind
    def test_cut_off_anywhere(self, write, tmp_path):
        raw = write(tmp_path / "a", FILES.items()).read_bytes()
        end = len(raw)
        if raw[257:262] == b"ustar":
            # A tar may end after its end mark, which the rest of its last record follows.
            end = len(raw.rstrip(b"\0")) // 512 * 512 + 512
        path = tmp_path / "cut"
        for length in [*range(0, end, 97), *range(end - 30, end)]:
            path.write_bytes(raw[:length])
            assert read_or_refuse(path, everything=False) is None, length

    @of_each_kind
    def test_flipped_bits(self, write, tmp_path):
        raw = write(tmp_path / "a", FILES.items()).read_bytes()
        is_zip, is_plain = raw.startswith(b"PK"), raw[257:262] == b"ustar"
        # Of a tar, contents and long names have no checksum, and would change unseen.
        blocks = {start: raw[start : start + 512] for start in range(0, len(raw), 512)}
        unproved = {
            start
            for start, block in blocks.items()
            if block.strip(b"\0") and block[257:262] != b"ustar"
        }
        rng = random.Random(3)
        path = tmp_path / "flipped"
        sound = 0
        for count in range(250):
            at = rng.randrange(len(raw))
            while is_plain and at // 512 * 512 in unproved:
                at = rng.randrange(len(raw))
            flipped = bytearray(raw)
            flipped[at] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            found = read_or_refuse(path, everything=count % 2)
            if found is None:
                continue
            sound += 1
            right = FILES.items() if count % 2 else PNGS
            if is_zip:
                # A flipped bit can hide a member, but neither change nor make one.
                assert set(found) <= set(right)
            else:
                assert found == list(right)
        assert sound < 250

    def test_tar_cut_off_before_it_was_compressed(self, tmp_path):
        raw = write_plain(tmp_path / "a", [("a.png", NOISE), ("b", NOISE)]).read_bytes()
        # Both contents have 6 blocks: they are 1 to 6 and 8 to 13.
        for blocks in (0, 0.5, 1, 2.5, 6, 7, 8, 9.5, 14):
            (tmp_path / "cut").write_bytes(gzip.compress(raw[: int(blocks * 512)]))
            refused(tmp_path / "cut", "ends before its end mark")

    def test_last_record_may_be_filled_with_anything(self, tmp_path):
        raw = write_plain(tmp_path / "a", FILES.items()).read_bytes()
        (tmp_path / "a").write_bytes(raw[:-100] + bytes(range(100)))
        assert read(tmp_path / "a") == PNGS

    @pytest.mark.parametrize("write", [write_plain, write_tgz])
    def test_hole_in_the_middle_is_no_end(self, write, tmp_path):
        files = [("a.png", b"a"), ("b.png", bytes(20_000)), ("c.png", NOISE * 5)]
        raw = bytearray(write_plain(tmp_path / "a", files).read_bytes())
        raw[1024:1536] = bytes(512)
        path = tmp_path / "hole"
        path.write_bytes(raw if write is write_plain else gzip.compress(raw))
        refused(path, "goes on after its end mark")

    def test_checksum_of_a_tgz_is_compared_even_if_nothing_is_wanted(self, tmp_path):
        raw = bytearray(write_tgz(tmp_path / "a", FILES.items()).read_bytes())
        raw[-8] ^= 1
        (tmp_path / "a").write_bytes(raw)
        refused(tmp_path / "a", "CRC", lambda name: False)

    def test_what_the_system_cannot_read(self, tmp_path, monkeypatch):
        def fail(*arguments):
            raise OSError(5, "Input/output error")

        path = write_plain(tmp_path / "a", FILES.items())
        monkeypatch.setattr(archives.io, "FileIO", fail)
        refused(path, "^cannot read .*: Input/output error$")
