"""Downloads an archive, and proves that it is the one its publisher offers."""

import dataclasses
import hashlib
from pathlib import Path

from tf_advseg.data.prepare.transfer import ADVICE, Transfer, check_scheme, megabytes
from tf_advseg.errors import InputError

_CHUNK = 2**20  # Bytes that are read at a time.
_MEGABYTE = 1_000_000


@dataclasses.dataclass(frozen=True)
class Source:
    """An archive as its publisher offers it.

    Attributes:
      file_name: what it is called, without a folder.
      url: its http or https address; None if a user must bring it.
      size: in bytes; None if the publisher does not say.
      digests: pairs of an algorithm of hashlib and the digest in hexadecimal; may be empty.
    """

    file_name: str
    url: str | None
    size: int | None = None
    digests: tuple[tuple[str, str], ...] = ()


def fetch(source: Source, folder: Path) -> Path:
    """Downloads an archive into a folder, unless it is there.

    What has come is in FILE_NAME.part, from where a later call goes on, also after this process was
    killed. The file gets its name when its size and digests are right.

    Returns:
      the path of the whole, checked file.

    Raises:
      InputError: it cannot be downloaded or written, or is not what its publisher offers.
    """
    path = folder / source.file_name
    if path.exists():
        if difference := _difference(path, source):
            raise InputError(f"{path} is not the file expected: {difference}; delete it")
        return path
    if source.url is None:
        raise InputError(
            f"{source.file_name} has no public address; download it from its publisher and bring "
            "it with --archive"
        )
    check_scheme(source.url)
    part = path.with_name(f"{path.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        transfer = Transfer(source.url, part, source.size, proven=bool(source.digests))
        transfer.run()
        if difference := _difference(part, source):
            transfer.discard()
            raise InputError(
                f"{source.url} gave a wrong {source.file_name}, which was deleted: {difference}; "
                f"{ADVICE}"
            )
        part.replace(path)
        transfer.discard()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    return path


def matches(path: Path, source: Source) -> bool:
    """Tells whether a file has the size and every digest of its source.

    Raises:
      InputError: the file cannot be read.
    """
    return path.exists() and _difference(path, source) is None


def _difference(path: Path, source: Source) -> str | None:
    """Returns what of a file is not as expected, or None."""
    try:
        size = path.stat().st_size
        if source.size is not None and size != source.size:
            return f"it has {size} bytes; expected: {source.size}"
        digests = _digests(path, [algorithm for algorithm, _ in source.digests])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    for (algorithm, expected), digest in zip(source.digests, digests, strict=True):
        if digest != expected.lower():
            return f"its {algorithm} is {digest}; expected: {expected.lower()}"
    return None


def _digests(path: Path, algorithms: list[str]) -> list[str]:
    # They are against damage; a system that forbids MD5 forbids it for security.
    digests = [hashlib.new(algorithm, usedforsecurity=False) for algorithm in algorithms]
    if not digests:
        return []
    with path.open("rb") as file, megabytes(f"checking {path.name}", path.stat().st_size) as show:
        done = 0
        while chunk := file.read(_CHUNK):
            for digest in digests:
                digest.update(chunk)
            done += len(chunk)
            show.update(done // _MEGABYTE)
    return [digest.hexdigest() for digest in digests]
