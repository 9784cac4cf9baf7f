"""Reads the members of an archive, or the files of a folder, into memory.

The safety design: nothing here writes to disk, so no name in an archive can become a path. A caller
gets names and contents, and chooses where to write by names of its own. Still, a wanted name that
leads elsewhere is refused, and all that is unpacked is counted, so that a small archive can neither
fill the memory nor unpack for ever.

What a .tar.gz unpacks to is proved by a checksum at its very end: its members are certain once the
iterator has ended. A .tar has checksums of its headers, and none of contents and long names. A .zip
has none of its list of members, where damage can hide a member: the caller knows which there must
be.
"""

import contextlib
import dataclasses
import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tf_advseg.bounded_reader import BoundedReader
from tf_advseg.data.prepare.sizes import CHUNK, MEGABYTE
from tf_advseg.data.prepare.tar_stream import FILE, Member, is_tar, tar_members
from tf_advseg.errors import InputError, first_line
from tf_advseg.progress import Progress

Result = TypeVar("Result")

#: Bytes of one file, and of all that one archive unpacks to, unless the caller says otherwise.
MAX_FILE = 64 * 2**20
MAX_TOTAL = 64 * 2**30

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_START = b"\x1f\x8b"
_ENCRYPTED = 1  # A flag of a zip file's member.

#: What the libraries raise for bytes that are no archive. Among them are, as ValueError, text that
#: is no UTF-8, and as RuntimeError what zipfile does not implement.
_DAMAGE = (
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclasses.dataclass(frozen=True)
class _Opened:
    """The members of an archive, and how far it is read.

    Attributes:
      members: in its order, without folders.
      position: from the number of members that were read, how much of `total` is read.
      total: how much there is, in `unit`s.
      unit: files or MB.
    """

    members: Iterator[Member]
    position: Callable[[int], int]
    total: int
    unit: str


def read(
    archive: Path,
    wanted: Callable[[str], bool],
    *,
    title: str,
    max_file: int = MAX_FILE,
    max_total: int = MAX_TOTAL,
) -> Iterator[tuple[str, bytes]]:
    """Yields the name and content of each regular file for which `wanted(name)` is true.

    Args:
      archive: a .tar, .tar.gz or .zip file, whatever it is called, or a folder. In a folder, a
        linked folder is not entered, and a linked file is read only if it is in the folder, too.
      wanted: gets each name with forward slashes, without "./" and doubled slashes.
      title: what the progress is called.
      max_file: bytes that one wanted file may have.
      max_total: bytes that all may unpack to, with those that are passed over.

    Yields:
      (name, content) in the order of the archive; in a folder, sorted by name.

    Raises:
      InputError: the archive is missing, damaged, cut off, of another format or larger than
        allowed; or a wanted member is encrypted, is no file, is there twice, or has a name that is
        absolute or leads out of the archive.
    """
    seen: set[str] = set()
    with contextlib.ExitStack() as stack:
        opened = _guarded(archive, _open, archive, _budget(archive, max_total), stack)
        progress = Progress(f"{title}, {opened.unit}", opened.total, delay=2.0)
        stack.callback(progress.close)
        count = 0
        while member := _guarded(archive, next, opened.members, None):
            name = str(PurePosixPath(member.name))
            if wanted(name):
                _check(archive, member, max_file)
                if name in seen:
                    raise InputError(f"{archive} has {name!r} twice; allowed: once")
                seen.add(name)
                yield name, _guarded(archive, member.content)
            count += 1
            progress.update(opened.position(count))


def _budget(archive: Path, limit: int) -> Callable[[int], None]:
    """Returns a function that counts bytes, and raises InputError when they pass `limit`."""
    left = limit

    def spend(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise InputError(f"{archive} unpacks to more than the {limit} bytes that are allowed")

    return spend


def _check(archive: Path, member: Member, max_file: int) -> None:
    path = PurePosixPath(member.name)
    if not path.parts or path.is_absolute() or ".." in path.parts or {"\\", "\0"} & set(str(path)):
        raise InputError(
            f"{archive} has a member {member.name!r}; allowed: relative names without .., \\ or NUL"
        )
    if member.kind != FILE:
        raise InputError(f"{archive}: {member.name!r} is {member.kind}; allowed: {FILE}")
    if member.size > max_file:
        raise InputError(f"{archive}: {member.name!r} has {member.size} bytes; allowed: {max_file}")


def _guarded(archive: Path, function: Callable[..., Result], *arguments) -> Result:
    try:
        return function(*arguments)
    except InputError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"cannot read {archive}: {error.strerror}") from None
        raise InputError(f"{archive} is damaged or cut off: {first_line(error)}") from None


def _open(archive: Path, spend: Callable[[int], None], stack: contextlib.ExitStack) -> _Opened:
    if archive.is_dir():
        names = _names_in(archive)
        members = (_file_member(archive, name, spend) for name in names)
        return _Opened(members, lambda count: count, len(names), "files")
    if not archive.is_file():
        raise InputError(
            f"no archive {archive}; allowed: a .tar, .tar.gz or .zip file, or a folder"
        )
    file = stack.enter_context(BoundedReader(io.FileIO(archive)))
    start = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if start.startswith(_ZIP_STARTS):
        members = _zip_members(stack.enter_context(zipfile.ZipFile(file)), spend)
    elif start.startswith(_GZIP_START):
        members = tar_members(file, spend, packed=True)
    elif is_tar(start):
        members = tar_members(file, spend, packed=False)
    else:
        raise InputError(
            f"{archive} is no archive; allowed: a .tar, .tar.gz or .zip file, or a folder"
        )
    size = os.fstat(file.fileno()).st_size // MEGABYTE
    return _Opened(members, lambda count: file.tell() // MEGABYTE, size, "MB")


def _zip_members(archive: zipfile.ZipFile, spend: Callable[[int], None]) -> Iterator[Member]:
    for info in archive.infolist():
        # Not `filename`, which zipfile cuts at a NUL.
        name = info.orig_filename
        if not name.endswith("/"):
            content = partial(_unzip, archive, info, spend)
            yield Member(name, _zip_kind(info), info.file_size, content)


def _zip_kind(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Of bzip2 and LZMA, zipfile unpacks without bounds what it reads.
        return f"compressed by method {info.compress_type}"
    # The upper half is the mode of a Unix file, and zero where another system wrote the archive.
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "a symbolic link"
    return FILE if kind in (0, stat.S_IFREG) else "a device, pipe or folder"


def _unzip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, spend: Callable[[int], None]) -> bytes:
    spend(info.file_size)
    content = bytearray()
    with archive.open(info) as file:
        # It gives no more than info.file_size, and compares the checksum when it ends.
        while piece := file.read(CHUNK):
            content += piece
    if len(content) != info.file_size:
        raise EOFError(f"{info.filename!r} has {len(content)} of {info.file_size} bytes")
    return bytes(content)


def _names_in(folder: Path) -> list[str]:
    def refuse(error: OSError) -> None:
        raise error  # Else a folder that cannot be listed would be left out.

    names = []
    for parent, _, files in os.walk(folder, onerror=refuse):
        names += [(Path(parent) / file).relative_to(folder).as_posix() for file in files]
    return sorted(names)


def _file_member(folder: Path, name: str, spend: Callable[[int], None]) -> Member:
    path = folder / name
    kind, size = FILE, 0
    try:
        status = path.stat()
    except OSError as error:
        kind = f"unreadable ({error.strerror})"
    else:
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            kind = "a device or pipe"
        elif not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            kind = "a link out of the folder"
    return Member(name, kind, size, partial(_read_file, path, size, spend))


def _read_file(path: Path, size: int, spend: Callable[[int], None]) -> bytes:
    spend(size)
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
