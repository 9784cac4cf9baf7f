"""Downloads an archive, over many tries and runs if need be, and proves that it is the due one."""

import hashlib
import http.client
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NoReturn

from tf_advseg import textfile
from tf_advseg.data.prepare.sizes import CHUNK, MEGABYTE, in_words, megabytes
from tf_advseg.errors import InputError, first_line

#: What a user can do after a download failed.
_ADVICE = "run it again, or bring the file with --archive"

_TIMEOUT = 30.0  # Seconds without a byte.
_WAITS = (1.0, 2.0, 4.0, 8.0)  # Seconds before the second try and those after it.
_ENOUGH = MEGABYTE  # A try that brings this many bytes does not count as failed.
_MAX_UNKNOWN = 2**34  # Bytes of a file of which nobody says how large it is.
_SCHEMES = ("http", "https")
_OK, _PARTIAL, _OUT_OF_RANGE = 200, 206, 416
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # Answers that may be others a little later.
#: Content-Range: where the part starts and how long the file is, the latter also without a part.
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_RANGE_OF_NONE = re.compile(r"bytes \*/(\d{1,18})")


def fetch(url: str, path: Path, expected: str, size: int | None = None) -> None:
    """Downloads a file, unless it is there.

    What has come is in FILE_NAME.part, from where a later call goes on, also after this process was
    killed. The file gets its name when its size and digest are right.

    Args:
      url: an http or https address.
      path: of the file.
      expected: its digest, "algorithm:hex".
      size: how many bytes it has; None if that is only known to the server.

    Raises:
      InputError: it cannot be downloaded or written, or is not what is expected.
    """
    if path.exists():
        if difference := _difference(path, expected, size):
            raise InputError(f"{path} is not the file expected: {difference}; delete it")
        return
    _check_scheme(url)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        transfer = _Transfer(url, part, size)
        transfer.run()
        if difference := _difference(part, expected, size):
            transfer.discard()
            raise InputError(
                f"{url} gave a wrong {path.name}, which was deleted: {difference}; {_ADVICE}"
            )
        part.replace(path)
        transfer.discard()
    except OSError as error:
        raise InputError(f"cannot write to {path.parent}: {error.strerror}") from None


def digest(path: Path, algorithm: str) -> str:
    """Returns what identifies the content of a file: "algorithm:hex".

    Args:
      path: of the file.
      algorithm: one of hashlib.

    Raises:
      InputError: the file cannot be read.
    """
    # It is against damage; a system that forbids MD5 forbids it for security.
    hashed = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as file, megabytes(f"checking {path.name}", _size(path)) as progress:
            while chunk := file.read(CHUNK):
                hashed.update(chunk)
                progress.update(file.tell() // MEGABYTE)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    return f"{algorithm}:{hashed.hexdigest()}"


def _difference(path: Path, expected: str, size: int | None) -> str | None:
    """Returns what of a file is not as expected, or None."""
    if size is not None and _size(path) != size:
        return f"it has {_size(path)} bytes; expected: {size}"
    found = digest(path, expected.partition(":")[0])
    return None if found == expected else f"its digest is {found}; expected: {expected}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_scheme(url: str) -> None:
    """Raises InputError unless a URL begins with http or https."""
    if urllib.parse.urlsplit(url).scheme.lower() not in _SCHEMES:
        raise InputError(f"{url} is no address to download from; allowed: http, https")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only; urllib itself would also follow one to ftp."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Lost(Exception):
    """A try failed in a way that another one may not."""


class _Transfer:
    """The bytes of a URL, on their way to a .part file.

    Beside the .part file, a .part.tag file names the version of the file that it is the start of,
    so that the end of another version is not put behind it.

    Args:
      url: an http or https address.
      part: where the bytes go, and where those of an earlier try may be.
      size: how many bytes there are; None if that is only known to the server.
    """

    def __init__(self, url: str, part: Path, size: int | None):
        self._url, self._part, self._size = url, part, size
        self._tag_path = part.with_name(f"{part.name}.tag")
        self._opener = urllib.request.build_opener(_Redirects)

    def run(self) -> None:
        """Downloads what is missing.

        Raises:
          InputError: the server does not give it, or there is no room for it.
          OSError: it cannot be written.
        """
        failures = 0
        while True:
            before = _size(self._part)
            try:
                return self._try()
            except _Lost as lost:
                failures = 0 if _size(self._part) - before >= _ENOUGH else failures + 1
                if failures > len(_WAITS):
                    self._fail(str(lost))
                wait = _WAITS[max(0, failures - 1)]
                print(f"{self._url}: {lost}; trying again in {wait:.0f} s", flush=True)
                time.sleep(wait)

    def discard(self) -> None:
        """Deletes what has come."""
        self._part.unlink(missing_ok=True)
        self._tag_path.unlink(missing_ok=True)

    def _fail(self, reason: str) -> NoReturn:
        raise InputError(f"cannot download {self._url}: {reason}; {_ADVICE}")

    def _try(self) -> None:
        """Makes the part whole, or raises _Lost."""
        have, tag = _size(self._part), self._tag()
        if self._size is not None and have > self._size:
            self.discard()
            have = 0
        if have == self._size:
            return
        response = self._request(have, tag)
        if response is not None:
            with response:
                self._receive(response, have, tag)

    def _tag(self) -> str:
        try:
            return self._tag_path.read_text(encoding="ascii")
        except (OSError, ValueError):
            return ""

    def _request(self, have: int, tag: str) -> http.client.HTTPResponse | None:
        """Asks for what comes after `have` bytes; returns None if that is nothing."""
        # Without a name of its own, some servers refuse Python.
        headers = {"User-Agent": "tf_advseg", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if tag:
                headers["If-Range"] = tag
        try:
            request = urllib.request.Request(self._url, headers=headers)
            return self._opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error, have)
            return None
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, ssl.SSLCertVerificationError):
                self._fail(first_line(reason))
            raise _Lost(str(reason)) from None
        except ValueError as error:
            self._fail(f"it leads to a wrong address: {first_line(error)}")

    def _refused(self, error: urllib.error.HTTPError, have: int) -> None:
        """Returns if the server means that the part is whole, else raises."""
        if error.code == _OUT_OF_RANGE and have:
            found = _RANGE_OF_NONE.fullmatch(error.headers.get("Content-Range", ""))
            if found and int(found[1]) == have and self._size is None:
                return
            self.discard()
            raise _Lost(f"it has fewer than the {have} bytes that came before")
        answer = f"the server answers {error.code} {error.reason}"
        if error.code in _TRY_AGAIN:
            raise _Lost(answer)
        self._fail(answer)

    def _receive(self, response: http.client.HTTPResponse, have: int, tag: str) -> None:
        new_tag, total, expected = _tag_of(response), response.length, self._size
        if response.status == _PARTIAL:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if not found or int(found[1]) != have or (tag and new_tag and tag != new_tag):
                self.discard()
                raise _Lost("it has another file than before")
            if found[2] != "*":
                total = int(found[2])
            elif total is not None:
                total += have
        elif response.status != _OK:
            self._fail(f"the server answers {response.status} {response.reason}")
        if None not in (total, expected) and total != expected:
            self._fail(f"the server's file has {total} bytes; expected: {expected}")
        if response.status == _OK:
            # It is sent from its start: the server cannot go on, or has another version now.
            self.discard()
            textfile.write(self._tag_path, new_tag)
            have = 0
        self._append(response, have, expected if total is None else total)

    def _append(self, response: http.client.HTTPResponse, have: int, total: int | None) -> None:
        name = self._part.stem
        if total is None:
            print(f"{name}: the server does not say how large it is", flush=True)
        else:
            _check_room(self._part.parent, name, total - have)
        most = _MAX_UNKNOWN if total is None else total
        with self._part.open("ab") as file, megabytes(name, total or 0, have) as progress:
            while have <= most and (chunk := _read(response)):
                file.write(chunk)
                have += len(chunk)
                if total is not None:
                    progress.update(have // MEGABYTE)
        if total is None and have > most:
            self.discard()
            self._fail(f"the server's file does not end after {in_words(most)}")
        if total is not None and have < total:
            raise _Lost(f"the connection ended after {have} of {total} bytes")


def _check_room(folder: Path, name: str, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < missing:
        raise InputError(
            f"{folder} has {in_words(free)} free; {name} needs {in_words(missing)} more"
        )


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Lost(first_line(error)) from None


def _tag_of(response: http.client.HTTPResponse) -> str:
    """Returns what If-Range takes: an ETag, unless it is a weak one, or a date, or nothing."""
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):
        tag = response.headers.get("Last-Modified", "")
    return tag if tag.isascii() and tag.isprintable() else ""
