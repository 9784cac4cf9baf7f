"""Small text files: written so that a crash leaves the old one or the new one, and read bounded."""

import errno
import stat
import uuid
from pathlib import Path

from tf_advseg import disk

_ENDING = ".tmp"


def write(path: Path, text: str) -> None:
    """Writes UTF-8 text to a file, at once or not at all, whoever else writes it meanwhile."""
    # In containers that share a folder all process ids may be 1.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_ENDING}")
    try:
        temporary.write_text(text, encoding="utf-8")
        disk.sync(temporary)  # Or a power loss may leave the new name without its text.
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    disk.sync(path.parent)


def read(path: Path, max_bytes: int, encoding: str = "utf-8-sig") -> str:
    """Returns the text of a file, without the mark that Windows editors begin one with.

    Raises:
      OSError: the file cannot be read, is no regular file (a pipe would wait for ever, a device may
        never end), or is larger than `max_bytes`.
      UnicodeDecodeError: it is no such text.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"it has {status.st_size} bytes; allowed: {max_bytes}")
    return path.read_text(encoding=encoding)


def is_unfinished(path: Path) -> bool:
    """Returns whether a file is what `write` leaves behind where it is killed."""
    return path.name.startswith(".") and path.name.endswith(_ENDING)
