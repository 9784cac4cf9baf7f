"""Reads a .tar or .tar.gz from first to last, without trust in what it says.

`tarfile.TarFile` ends at a damaged header as if the archive ended there, seeks back where a size is
negative, and takes a long name's length on faith. So only its reading of a single header is used
here (`TarInfo.frombuf`, which checks the header's sum), and this module goes from one to the next.
"""

import dataclasses
import gzip
import os
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from tf_advseg.data.prepare.sizes import CHUNK

#: The `kind` of a member that is a regular file.
FILE = "a file"

_BLOCK = tarfile.BLOCKSIZE
_MAX_EXTENSION = 2**20  # Bytes of a header that holds a long name.
_MAX_DIGITS = 20  # Of a number in such a header: enough for 64 bits.
_TYPE = slice(156, 157)  # Where a header says what its member is.
_SPARSE_MORE, _SPARSE_MORE_AGAIN = 482, 504  # Where GNU's headers say that another one follows.

_GLOBAL, _LONG_NAME = tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME
_EXTENSIONS = (
    _GLOBAL,
    _LONG_NAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_FOLDER = "a folder"
#: What else there is of which no content follows, whatever size its header has.
_WITHOUT_CONTENT = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: _FOLDER,
}
#: What is heeded of an extended header.
_PATH, _SIZE = "path", "size"
_SPARSE_KEYS = ("GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.name")
_HEEDED = (_PATH, _SIZE, *_SPARSE_KEYS)


@dataclasses.dataclass(frozen=True)
class Member:
    """A member as its archive announces it.

    Attributes:
      name: as the archive has it.
      kind: FILE, or what else it is.
      size: bytes of its content.
      content: returns it; to be called before the next member is asked for, or not at all.
    """

    name: str
    kind: str
    size: int
    content: Callable[[], bytes]


def is_tar(start: bytes) -> bool:
    """Tells from its first 512 bytes whether a file is a tar archive without compression."""
    try:
        _header(start)
    except tarfile.EOFHeaderError:
        return True  # An archive of nothing.
    except tarfile.HeaderError:
        return False
    return True


def tar_members(file: BinaryIO, spend: Callable[[int], None], *, packed: bool) -> Iterator[Member]:
    """Yields the members of a tar archive that are no folders.

    Args:
      file: the archive, open at its start.
      spend: is told how many bytes were unpacked or passed over, a piece at a time.
      packed: whether it is compressed by gzip.

    Raises:
      EOFError, OSError, ValueError, tarfile.TarError, zlib.error: it is damaged or cut off.
    """
    stream = (_Packed if packed else _Plain)(file, spend)
    common: dict[str, str] = {}
    own: dict[str, str] = {}
    while True:
        block = stream.take(_BLOCK)
        try:
            info = _header(block)
        except tarfile.EOFHeaderError:
            break
        type_ = block[_TYPE]
        if type_ in _EXTENSIONS:
            (common if type_ == _GLOBAL else own).update(_extension(type_, info.size, stream))
            continue
        member = _member(block, info, {**common, **own}, stream)
        own = {}
        end = stream.position
        if type_ not in _WITHOUT_CONTENT:
            end += _padded(member.size)
        if member.kind != _FOLDER:
            yield member
        stream.skip(end - stream.position)
    stream.finish()


def _header(block: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if info.size < 0:
        raise tarfile.InvalidHeaderError("a negative size")
    return info


def _member(
    block: bytes, info: tarfile.TarInfo, extended: dict[str, str], stream: "_Stream"
) -> Member:
    type_ = block[_TYPE]
    name = extended.get(_PATH, info.name)
    size = _number(extended[_SIZE]) if _SIZE in extended else info.size
    if type_ == tarfile.GNUTYPE_SPARSE:
        more = block[_SPARSE_MORE]
        while more:
            more = stream.take(_BLOCK)[_SPARSE_MORE_AGAIN]
    if any(key in extended for key in _SPARSE_KEYS):
        name = extended.get("GNU.sparse.name", name)
        kind = "a sparse file"
    elif type_ in _REGULAR:
        # In the oldest archives a folder is a file whose name ends so; `info` has lost the slash.
        is_folder = name.endswith("/") or (_PATH not in extended and info.isdir())
        kind = _FOLDER if is_folder else FILE
    elif type_ == tarfile.GNUTYPE_SPARSE:
        kind = "a sparse file"
    else:
        kind = _WITHOUT_CONTENT.get(type_, f"of the unknown type {type_!r}")
    return Member(name, kind, size, partial(stream.take, size))


def _extension(type_: bytes, size: int, stream: "_Stream") -> dict[str, str]:
    """Reads what a header says of the member, or members, after it."""
    if size > _MAX_EXTENSION:
        raise tarfile.InvalidHeaderError(f"a header of {size} bytes")
    payload = stream.take(_padded(size))[:size]
    if type_ == _LONG_NAME:
        return {_PATH: _text(payload.split(b"\0", 1)[0])}
    return {} if type_ == tarfile.GNUTYPE_LONGLINK else _records(payload)


def _records(payload: bytes) -> dict[str, str]:
    """Reads lines of the form "LENGTH KEY=VALUE", LENGTH being the line's own."""
    records = {}
    start = 0
    while start < len(payload):
        space = payload.find(b" ", start, start + _MAX_DIGITS + 1)
        length = _number(_text(payload[start : max(start, space)]))
        line = payload[start : start + length]
        key, _, value = line[space + 1 - start :].partition(b"=")
        if len(line) < length or not value.endswith(b"\n"):
            raise tarfile.InvalidHeaderError("an extended header that is none")
        if _text(key) in _HEEDED:
            records[_text(key)] = _text(value[:-1])
        start += length
    return records


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise tarfile.InvalidHeaderError(f"the number {text[: _MAX_DIGITS + 1]!r}")
    return int(text)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


class _Stream:
    """Goes forward through a file; `position` is how many bytes of the tar archive are behind."""

    def __init__(self, file: BinaryIO, spend: Callable[[int], None]):
        self._file, self._spend = file, spend
        self.position = 0

    def take(self, size: int) -> bytes:
        """Returns the next `size` bytes; raises EOFError where there are fewer."""
        pieces = []
        while size:
            piece = self._piece(min(size, CHUNK))
            if not piece:
                raise EOFError("it ends before its end mark")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Passes over `size` bytes."""
        while size:
            size -= len(self.take(min(size, CHUNK)))

    def finish(self) -> None:
        """Reads what comes after the end mark, and so a checksum there.

        Raises:
          tarfile.ReadError: there is more than the rest of a record.
        """
        self._piece(tarfile.RECORDSIZE)  # Some writers fill the last record up with anything.
        while piece := self._piece(CHUNK):
            if piece.strip(b"\0"):
                raise tarfile.ReadError("it goes on after its end mark")

    def _piece(self, size: int) -> bytes:
        piece = self._file.read(size)
        self._spend(len(piece))
        self.position += len(piece)
        return piece


class _Plain(_Stream):
    """A file that can be sought in."""

    def skip(self, size: int) -> None:
        # Behind the end of a file that is cut off, there is no end mark either.
        self._spend(size)
        self.position = self._file.seek(size, os.SEEK_CUR)


class _Packed(_Stream):
    """A file compressed by gzip, whose checksum is compared when its end is reached."""

    def __init__(self, file: BinaryIO, spend: Callable[[int], None]):
        super().__init__(gzip.GzipFile(fileobj=file), spend)
