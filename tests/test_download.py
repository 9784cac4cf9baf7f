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
from pathlib import Path

import pytest

from tests.file_server import FileServer
from tf_advseg.data.prepare import transfer
from tf_advseg.data.prepare.download import Source, fetch, matches
from tf_advseg.errors import InputError

DATA = random.Random(1).randbytes(400_000)
OTHER = random.Random(2).randbytes(400_000)
SIZE = len(DATA)
DIGESTS = tuple((name, hashlib.new(name, DATA).hexdigest()) for name in ("md5", "sha256"))
ROOT = Path(__file__).parent.parent


@pytest.fixture
def server(monkeypatch):
    """A server that runs; waits between tries take no time."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(transfer, "_WAITS", (0.0,) * 4)
    running = FileServer(DATA)
    # The default of half a second is what a test would wait for its end.
    thread = threading.Thread(target=functools.partial(running.serve_forever, 0.01))
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def source(server, size=SIZE, digests=DIGESTS):
    return Source("a.tar", server.url, size, digests)


def leave_part(folder, content, tag='"one"'):
    """Makes what an earlier process left."""
    (folder / "a.tar.part").write_bytes(content)
    if tag is not None:
        (folder / "a.tar.part.tag").write_text(tag)


def assert_whole(folder, data=DATA):
    assert (folder / "a.tar").read_bytes() == data
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"a.tar"}


def refused(offered, folder, match):
    with pytest.raises(InputError, match=match) as caught:
        fetch(offered, folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "a.tar").exists()


class TestWhole:
    def test_file_comes_into_a_new_folder(self, server, tmp_path):
        assert fetch(source(server), tmp_path / "x" / "y") == tmp_path / "x" / "y" / "a.tar"
        assert_whole(tmp_path / "x" / "y")
        assert server.ranges_asked == [None]

    @pytest.mark.parametrize("tells_size", [True, False])
    def test_nothing_is_known_of_it(self, tells_size, server, tmp_path, capsys):
        server.tells_size, server.version = tells_size, None
        fetch(source(server, None, ()), tmp_path)
        assert_whole(tmp_path)
        assert ("does not say" in capsys.readouterr().out) is not tells_size

    def test_file_that_is_there_is_checked_and_not_asked_for(self, server, tmp_path):
        (tmp_path / "a.tar").write_bytes(DATA)
        for url in (server.url, None):
            assert fetch(Source("a.tar", url, SIZE, DIGESTS), tmp_path) == tmp_path / "a.tar"
        (tmp_path / "a.tar").write_bytes(OTHER)
        with pytest.raises(InputError, match=rf"md5 is [0-9a-f]{{32}}; expected: {DIGESTS[0][1]}"):
            fetch(source(server), tmp_path)
        assert (tmp_path / "a.tar").read_bytes() == OTHER
        assert server.requests == []

    def test_log_shows_megabytes_and_time_left(self, server, tmp_path, monkeypatch, capsys):
        server.data = bytes(3_000_000)
        real = transfer.Progress

        def eager(title, total, *, done, delay):
            return real(title, total, done=done, interval=0.0)

        monkeypatch.setattr(transfer, "Progress", eager)
        leave_part(tmp_path, bytes(1_000_000))
        fetch(source(server, None, ()), tmp_path)
        lines = capsys.readouterr().out.splitlines()
        assert all(re.fullmatch(r"a\.tar, MB [123]/3  0:0\d left", line) for line in lines)
        assert lines[-1] == "a.tar, MB 3/3  0:00 left"


class TestMatches:
    def test_size_and_every_digest(self, tmp_path):
        path = tmp_path / "a"
        assert not matches(path, Source("a", None))
        path.write_bytes(b"abc")
        # The MD5 and SHA-1 of "abc" are in RFC 1321 and FIPS 180.
        md5 = ("md5", "900150983CD24FB0D6963F7D28E17F72")
        sha1 = ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d")
        assert matches(path, Source("a", None))
        assert matches(path, Source("a", None, 3, (md5, sha1)))
        assert not matches(path, Source("a", None, 4, (md5, sha1)))
        assert not matches(path, Source("a", None, 3, (md5, ("sha1", sha1[1][::-1]))))

    def test_one_read_for_all_digests(self, tmp_path, monkeypatch):
        (tmp_path / "a").write_bytes(DATA)
        opened = []
        real = Path.open
        monkeypatch.setattr(Path, "open", lambda *a, **k: opened.append(a) or real(*a, **k))
        assert matches(tmp_path / "a", Source("a", None, None, DIGESTS))
        assert len(opened) == 1


class TestResume:
    @pytest.mark.parametrize("digests", [DIGESTS, ()])
    @pytest.mark.parametrize("size", [SIZE, None])
    def test_goes_on_where_it_was(self, size, digests, server, tmp_path):
        leave_part(tmp_path, DATA[:150_000])
        fetch(source(server, size, digests), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-"]
        assert server.requests[0]["If-Range"] == '"one"'

    def test_last_modified_stands_in_for_a_weak_etag(self, server, tmp_path):
        server.version_name, server.version = "Last-Modified", "Sat, 12 May 2012 01:02:03 GMT"
        server.drops = [150_000]
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)
        assert server.requests[1]["If-Range"] == "Sat, 12 May 2012 01:02:03 GMT"
        server.version_name, server.version, server.drops = "ETag", 'W/"one"', [150_000]
        (tmp_path / "a.tar").unlink()
        fetch(source(server), tmp_path)
        assert "If-Range" not in server.requests[3]

    def test_server_without_ranges_starts_anew(self, server, tmp_path):
        server.ranges = False
        leave_part(tmp_path, OTHER[:150_000])
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-"]

    @pytest.mark.parametrize("heeds", [True, False])
    def test_changed_file_is_not_put_behind_an_old_part(self, heeds, server, tmp_path):
        server.drops = [150_000] * 5
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "_WAITS", ())
            refused(source(server, None, ()), tmp_path, "ended after 150000 of 400000 bytes")
        assert (tmp_path / "a.tar.part").read_bytes() == DATA[:150_000]
        server.data, server.version, server.drops = OTHER, '"two"', []
        server.heeds_version = heeds
        fetch(source(server, None, ()), tmp_path)
        assert_whole(tmp_path, OTHER)

    def test_part_of_an_unknown_version_is_only_used_if_a_digest_proves_it(self, server, tmp_path):
        leave_part(tmp_path, DATA[:150_000], tag=None)
        fetch(source(server), tmp_path)
        leave_part(tmp_path, OTHER[:150_000], tag=None)
        (tmp_path / "a.tar").unlink()
        fetch(source(server, digests=()), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-", None]

    @pytest.mark.parametrize("size", [SIZE, None])
    def test_whole_part_is_only_checked(self, size, server, tmp_path):
        leave_part(tmp_path, DATA)
        fetch(source(server, size), tmp_path)
        assert_whole(tmp_path)
        # Without a size, the server has to tell it: with 416.
        assert server.ranges_asked == ([] if size else ["bytes=400000-"])

    @pytest.mark.parametrize("size", [SIZE, None])
    def test_part_that_is_longer_than_the_file_starts_anew(self, size, server, tmp_path):
        leave_part(tmp_path, DATA + b"more")
        fetch(source(server, size), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ([None] if size else ["bytes=400004-", None])

    def test_part_from_another_place_than_asked_starts_anew(self, server, tmp_path):
        server.wrong_start = -1
        leave_part(tmp_path, DATA[:150_000])
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-", None]

    def test_after_ctrl_c(self, server, tmp_path):
        def interrupt(response):
            raise KeyboardInterrupt

        reads = iter([transfer._read, interrupt])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "_read", lambda response: next(reads)(response))
            with pytest.raises(KeyboardInterrupt):
                fetch(source(server), tmp_path)
        had = (tmp_path / "a.tar.part").read_bytes()
        assert 0 < len(had) < len(DATA) and DATA.startswith(had)
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == [None, f"bytes={len(had)}-"]

    def test_after_the_process_was_killed(self, server, tmp_path):
        server.pause = 0.05
        program = (
            "from pathlib import Path; from tf_advseg.data.prepare.download import *; "
            f"fetch(Source('a.tar', {server.url!r}), Path({str(tmp_path)!r}))"
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
        fetch(source(server, None, ()), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == [None, f"bytes={had}-"]


class TestTrouble:
    def test_dropped_connections_are_taken_up_again(self, server, tmp_path, capsys):
        server.drops = [100_000, 0, 50_000]
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)
        starts = [None, *(f"bytes={start}-" for start in (100_000, 100_000, 150_000))]
        assert server.ranges_asked == starts
        assert "ended after 100000 of 400000 bytes; trying again" in capsys.readouterr().out

    def test_gives_up_after_five_tries_and_keeps_the_part(self, server, tmp_path):
        server.drops = [1000] * 9
        refused(source(server), tmp_path, "ended after 5000 of 400000.*; run it again, or bring")
        assert (tmp_path / "a.tar.part").stat().st_size == 5000
        server.drops = []
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)

    def test_tries_that_bring_much_do_not_count(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(transfer, "_ENOUGH", 30_000)
        server.drops = [30_000] * 13
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)
        assert len(server.requests) == 14

    def test_silent_server(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(transfer, "_TIMEOUT", 0.1)
        monkeypatch.setattr(transfer, "_WAITS", (0.0,))
        server.pause = 0.4
        refused(source(server), tmp_path, "cannot download .*timed out; run it again")
        assert (tmp_path / "a.tar.part").stat().st_size == 40_000

    def test_nobody_listens(self, tmp_path, server):
        server.url = server.url.replace(str(server.server_port), "1")
        refused(source(server), tmp_path, f"cannot download {server.url}: .*Connection refused")

    @pytest.mark.parametrize(("code", "tries"), [(404, 1), (403, 1), (500, 5), (503, 5), (204, 1)])
    def test_answers_that_are_no_file(self, code, tries, server, tmp_path):
        server.answers = [(code, {})] * 9
        refused(source(server), tmp_path, f"{server.url}: the server answers {code} .*--archive")
        assert len(server.requests) == tries

    def test_short_overload_is_waited_for(self, server, tmp_path):
        server.answers = [(503, {}), (429, {})]
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)

    def test_wrong_bytes_are_deleted(self, server, tmp_path):
        server.data = OTHER
        got = hashlib.md5(OTHER).hexdigest()
        match = f"{server.url} gave a wrong a.tar.*md5 is {got}; expected: {DIGESTS[0][1]}"
        refused(source(server), tmp_path, match)
        assert list(tmp_path.glob("a.tar*")) == []

    def test_every_digest_counts(self, server, tmp_path):
        digests = (DIGESTS[0], ("sha256", DIGESTS[1][1][::-1]))
        refused(source(server, digests=digests), tmp_path, "sha256 is")

    @pytest.mark.parametrize("size", [399_999, 400_001])
    def test_wrong_size(self, size, server, tmp_path):
        leave_part(tmp_path, DATA[:9])
        refused(source(server, size), tmp_path, f"has 400000 bytes; expected: {size}")
        # A page that is no archive must not cost what came before.
        assert (tmp_path / "a.tar.part").read_bytes() == DATA[:9]
        server.tells_size = server.ranges = False
        refused(source(server, size, ()), tmp_path, "bytes")

    def test_endless_file_is_not_read_to_its_end(self, server, tmp_path):
        server.tells_size, server.data = False, bytes(5_000_000)
        with pytest.raises(InputError, match=r"it has (\d+) bytes; expected: 400000") as caught:
            fetch(source(server), tmp_path)
        assert int(re.search(r"has (\d+)", str(caught.value))[1]) < 1_000_000

    def test_size_is_taken_from_content_range(self, server, tmp_path):
        server.tells_size, server.drops = False, [1000]
        leave_part(tmp_path, DATA[:150_000])
        fetch(source(server, None, ()), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-", "bytes=151000-"]

    def test_full_disk_is_told_before(self, server, tmp_path, monkeypatch):
        disk = types.SimpleNamespace(free=249_999)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
        leave_part(tmp_path, DATA[:150_000])
        refused(source(server), tmp_path, r"has 0 MB free; a\.tar needs 1 MB more")
        assert (tmp_path / "a.tar.part").stat().st_size == 150_000
        disk.free = 250_000
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)

    def test_folder_that_cannot_be_written(self, server, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"cannot write to .*file"):
            fetch(source(server), tmp_path / "file" / "x")

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "file:///etc/passwd", "a.tar", ""])
    def test_other_schemes(self, url, server, tmp_path):
        refused(Source("a.tar", url), tmp_path, "allowed: http, https")
        server.answers = [(302, {"Location": url})] if ":" in url else [(404, {})]
        refused(source(server), tmp_path, "cannot download .*(allowed|404)")

    def test_redirect_keeps_the_range(self, server, tmp_path):
        server.answers = [(302, {"Location": "/elsewhere"})]
        leave_part(tmp_path, DATA[:150_000])
        fetch(source(server), tmp_path)
        assert_whole(tmp_path)
        assert server.ranges_asked == ["bytes=150000-"] * 2

    def test_file_without_address(self, tmp_path):
        refused(Source("a.tar", None), tmp_path, "a.tar has no public address.*--archive")
