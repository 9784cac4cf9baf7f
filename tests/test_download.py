"""Downloads from a server on this machine: whole, resumed, changed, cut off, wrong and refused."""

import functools
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from tests.file_server import FileServer
from tests.runs import ROOT
from tf_advseg.data.prepare import download, sizes
from tf_advseg.data.prepare.download import digest
from tf_advseg.errors import InputError

DATA = random.Random(1).randbytes(400_000)
OTHER = random.Random(2).randbytes(400_000)
SIZE = len(DATA)
MD5, SHA256 = (f"{name}:{hashlib.new(name, DATA).hexdigest()}" for name in ("md5", "sha256"))


@pytest.fixture
def server(monkeypatch):
    """A server that runs; waits between tries take no time."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_WAITS", (0.0,) * 4)
    running = FileServer(DATA)
    # The default of half a second is what a test would wait for its end.
    thread = threading.Thread(target=functools.partial(running.serve_forever, 0.01))
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def fetch(server, folder, size=SIZE, expected=MD5):
    download.fetch(server.url, folder / "a.tar", expected, size)


def leave_part(folder, content, tag='"one"'):
    """Makes what an earlier process left."""
    (folder / "a.tar.part").write_bytes(content)
    if tag is not None:
        (folder / "a.tar.part.tag").write_text(tag)


def assert_whole(folder):
    assert (folder / "a.tar").read_bytes() == DATA
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"a.tar"}


def refused(server, folder, match, size=SIZE):
    with pytest.raises(InputError, match=match) as caught:
        fetch(server, folder, size)
    assert "\n" not in str(caught.value)
    assert not (folder / "a.tar").exists()


class TestWhole:
    def test_file_comes_into_a_new_folder(self, server, tmp_path):
        fetch(server, tmp_path / "x" / "y")
        assert_whole(tmp_path / "x" / "y")
        assert server.ranges_asked == [None]

    @pytest.mark.parametrize("tells_size", [True, False])
    def test_size_is_not_known(self, tells_size, server, tmp_path, capsys):
        server.tells_size, server.version = tells_size, None
        fetch(server, tmp_path, size=None)
        assert_whole(tmp_path)
        assert ("does not say" in capsys.readouterr().out) is not tells_size

    def test_file_that_is_there_is_checked_and_not_asked_for(self, server, tmp_path):
        (tmp_path / "a.tar").write_bytes(DATA)
        for expected in (MD5, SHA256):
            fetch(server, tmp_path, expected=expected)
        (tmp_path / "a.tar").write_bytes(OTHER)
        with pytest.raises(InputError, match=rf"is md5:[0-9a-f]{{32}}; expected: {MD5}; delete it"):
            fetch(server, tmp_path)
        (tmp_path / "a.tar").write_bytes(OTHER[1:])
        with pytest.raises(InputError, match="has 399999 bytes; expected: 400000; delete it"):
            fetch(server, tmp_path)
        assert (tmp_path / "a.tar").read_bytes() == OTHER[1:]
        assert server.requests == []

    def test_log_shows_megabytes_and_time_left(self, server, tmp_path, monkeypatch, capsys):
        server.data = bytes(3_000_000)
        real = sizes.Progress

        def eager(title, total, *, done, delay):
            return real(title, total, done=done, interval=0.0)

        monkeypatch.setattr(sizes, "Progress", eager)
        leave_part(tmp_path, bytes(1_000_000))
        expected = f"md5:{hashlib.md5(server.data).hexdigest()}"
        fetch(server, tmp_path, None, expected)
        lines = capsys.readouterr().out.splitlines()
        checks = [line.startswith("checking ") for line in lines]
        assert checks == sorted(checks) and any(checks)
        pattern = r"(checking )?a\.tar(\.part)?, MB [123]/3(  0:0\d left)?"
        assert all(re.fullmatch(pattern, line) for line in lines)
        assert lines[-1].endswith("MB 3/3  0:00 left")


class TestDigest:
    def test_known_digests(self, tmp_path):
        (tmp_path / "a").write_bytes(b"abc")
        # The MD5 and SHA-1 of "abc" are in RFC 1321 and FIPS 180.
        assert digest(tmp_path / "a", "md5") == "md5:900150983cd24fb0d6963f7d28e17f72"
        sha1 = "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"
        assert digest(tmp_path / "a", "sha1") == sha1

    def test_file_that_cannot_be_read(self, tmp_path):
        with pytest.raises(InputError, match=rf"cannot read {tmp_path}: Is a directory"):
            digest(tmp_path, "md5")


class TestResume:
    @pytest.mark.parametrize("tag", ['"one"', None])
    @pytest.mark.parametrize("size", [SIZE, None])
    def test_goes_on_where_it_was(self, size, tag, server, tmp_path):
        leave_part(tmp_path, DATA[:150_000], tag)
        fetch(server, tmp_path, size)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-"]
        assert server.requests[0].get("If-Range") == tag

    def test_last_modified_stands_in_for_a_weak_etag(self, server, tmp_path):
        server.version_name, server.version = "Last-Modified", "Sat, 12 May 2012 01:02:03 GMT"
        server.drops = [150_000]
        fetch(server, tmp_path)
        assert_whole(tmp_path)
        assert server.requests[1]["If-Range"] == "Sat, 12 May 2012 01:02:03 GMT"
        server.version_name, server.version, server.drops = "ETag", 'W/"one"', [150_000]
        (tmp_path / "a.tar").unlink()
        fetch(server, tmp_path)
        assert "If-Range" not in server.requests[3]

    def test_server_without_ranges_starts_anew(self, server, tmp_path):
        server.ranges = False
        leave_part(tmp_path, OTHER[:150_000])
        fetch(server, tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-"]

    @pytest.mark.parametrize("heeds", [True, False])
    def test_changed_file_is_not_put_behind_an_old_part(self, heeds, server, tmp_path):
        server.data, server.version, server.drops = OTHER, '"old"', [150_000] * 5
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(download, "_WAITS", ())
            refused(server, tmp_path, "ended after 150000 of 400000 bytes")
        assert (tmp_path / "a.tar.part").read_bytes() == OTHER[:150_000]
        server.data, server.version, server.drops = DATA, '"new"', []
        server.heeds_version = heeds
        fetch(server, tmp_path)
        assert_whole(tmp_path)

    @pytest.mark.parametrize("size", [SIZE, None])
    def test_whole_part_is_only_checked(self, size, server, tmp_path):
        leave_part(tmp_path, DATA)
        fetch(server, tmp_path, size)
        assert_whole(tmp_path)
        # Without a size, the server has to tell it: with 416.
        assert server.ranges_asked == ([] if size else ["bytes=400000-"])

    @pytest.mark.parametrize("size", [SIZE, None])
    def test_part_that_is_longer_than_the_file_starts_anew(self, size, server, tmp_path):
        leave_part(tmp_path, DATA + b"more")
        fetch(server, tmp_path, size)
        assert_whole(tmp_path)
        assert server.ranges_asked == ([None] if size else ["bytes=400004-", None])

    def test_part_from_another_place_than_asked_starts_anew(self, server, tmp_path):
        server.wrong_start = -1
        leave_part(tmp_path, DATA[:150_000])
        fetch(server, tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-", None]

    def test_after_ctrl_c(self, server, tmp_path):
        def interrupt(response):
            raise KeyboardInterrupt

        reads = iter([download._read, interrupt])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(download, "_read", lambda response: next(reads)(response))
            with pytest.raises(KeyboardInterrupt):
                fetch(server, tmp_path)
        had = (tmp_path / "a.tar.part").read_bytes()
        assert 0 < len(had) < len(DATA) and DATA.startswith(had)
        fetch(server, tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == [None, f"bytes={len(had)}-"]

    def test_after_the_process_was_killed(self, server, tmp_path):
        server.pause = 0.05
        program = (
            "from pathlib import Path; from tf_advseg.data.prepare.download import *; "
            f"fetch({server.url!r}, Path({str(tmp_path / 'a.tar')!r}), {MD5!r})"
        )
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        part = tmp_path / "a.tar.part"
        end = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= 40_000):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        server.pause = 0.0
        had = part.stat().st_size
        assert had < len(DATA)
        fetch(server, tmp_path, None)
        assert_whole(tmp_path)
        assert server.ranges_asked == [None, f"bytes={had}-"]


class TestTrouble:
    def test_dropped_connections_are_taken_up_again(self, server, tmp_path, capsys):
        server.drops = [100_000, 0, 50_000]
        fetch(server, tmp_path)
        assert_whole(tmp_path)
        starts = [None, *(f"bytes={start}-" for start in (100_000, 100_000, 150_000))]
        assert server.ranges_asked == starts
        assert "ended after 100000 of 400000 bytes; trying again" in capsys.readouterr().out

    def test_gives_up_after_five_tries_and_keeps_the_part(self, server, tmp_path):
        server.drops = [1000] * 9
        refused(server, tmp_path, "ended after 5000 of 400000.*; run it again, or bring")
        assert (tmp_path / "a.tar.part").stat().st_size == 5000
        server.drops = []
        fetch(server, tmp_path)
        assert_whole(tmp_path)

    def test_tries_that_bring_much_do_not_count(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(download, "_ENOUGH", 30_000)
        server.drops = [30_000] * 13
        fetch(server, tmp_path)
        assert_whole(tmp_path)
        assert len(server.requests) == 14

    def test_silent_server(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(download, "_TIMEOUT", 0.1)
        monkeypatch.setattr(download, "_WAITS", (0.0,))
        server.pause = 0.4
        refused(server, tmp_path, "cannot download .*timed out; run it again")
        assert (tmp_path / "a.tar.part").stat().st_size == 40_000

    def test_nobody_listens(self, tmp_path, server):
        server.url = server.url.replace(str(server.server_port), "1")
        refused(server, tmp_path, f"cannot download {server.url}: .*Connection refused")

    @pytest.mark.parametrize(("code", "tries"), [(404, 1), (403, 1), (500, 5), (503, 5), (204, 1)])
    def test_answers_that_are_no_file(self, code, tries, server, tmp_path):
        server.answers = [(code, {})] * 9
        refused(server, tmp_path, f"{server.url}: the server answers {code} .*--archive")
        assert len(server.requests) == tries

    def test_short_overload_is_waited_for(self, server, tmp_path):
        server.answers = [(503, {}), (429, {})]
        fetch(server, tmp_path)
        assert_whole(tmp_path)

    def test_wrong_bytes_are_deleted(self, server, tmp_path):
        server.data = OTHER
        got = hashlib.md5(OTHER).hexdigest()
        match = f"{server.url} gave a wrong a.tar.* is md5:{got}; expected: {MD5}"
        refused(server, tmp_path, match)
        assert list(tmp_path.glob("a.tar*")) == []

    @pytest.mark.parametrize("size", [399_999, 400_001])
    def test_wrong_size(self, size, server, tmp_path):
        leave_part(tmp_path, DATA[:9])
        refused(server, tmp_path, f"has 400000 bytes; expected: {size}", size)
        # A page that is no archive must not cost what came before.
        assert (tmp_path / "a.tar.part").read_bytes() == DATA[:9]
        server.tells_size = server.ranges = False
        refused(server, tmp_path, "bytes", size)

    def test_endless_file_is_not_read_to_its_end(self, server, tmp_path):
        server.tells_size, server.data = False, bytes(5_000_000)
        with pytest.raises(InputError, match=r"it has (\d+) bytes; expected: 400000") as caught:
            fetch(server, tmp_path)
        assert int(re.search(r"has (\d+)", str(caught.value))[1]) < 1_000_000

    def test_endless_file_of_unknown_size_ends_and_is_deleted(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(download, "_MAX_UNKNOWN", 1_000_000)
        server.tells_size, server.data = False, bytes(20_000_000)
        read, sizes_read = download._read, []

        def counting(response):
            sizes_read.append(len(piece := read(response)))
            return piece

        monkeypatch.setattr(download, "_read", counting)
        refused(server, tmp_path, r"does not end after 1\.0 MB", None)
        assert 1_000_000 < sum(sizes_read) < 4_000_000
        assert not list(tmp_path.iterdir())

    def test_size_is_taken_from_content_range(self, server, tmp_path):
        server.tells_size, server.drops = False, [1000]
        leave_part(tmp_path, DATA[:150_000])
        fetch(server, tmp_path, None)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-", "bytes=151000-"]

    def test_full_disk_is_told_before(self, server, tmp_path, monkeypatch):
        disk = types.SimpleNamespace(free=249_999)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
        leave_part(tmp_path, DATA[:150_000])
        refused(server, tmp_path, r"has 0\.2 MB free; a\.tar needs 0\.2 MB more")
        assert (tmp_path / "a.tar.part").stat().st_size == 150_000
        disk.free = 250_000
        fetch(server, tmp_path)
        assert_whole(tmp_path)

    def test_folder_that_cannot_be_written(self, server, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"cannot write to .*file"):
            fetch(server, tmp_path / "file" / "x")

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "file:///etc/passwd", "a.tar", ""])
    def test_other_schemes(self, url, server, tmp_path):
        server.answers = [(302, {"Location": url})] if ":" in url else [(404, {})]
        refused(server, tmp_path, "cannot download .*(allowed|404)")
        server.url = url
        refused(server, tmp_path, "allowed: http, https")

    def test_redirect_keeps_the_range(self, server, tmp_path):
        server.answers = [(302, {"Location": "/elsewhere"})]
        leave_part(tmp_path, DATA[:150_000])
        fetch(server, tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-"] * 2
