"""What a file system is asked beside reading and writing: to keep what it has, and for room."""

import os
import shutil
from pathlib import Path

from tf_advseg.errors import InputError

_GIB = 2**30


def sync(path: Path) -> None:
    """Returns when a file's content, or a folder's list of names, would survive a power loss.

    Raises:
      OSError: it would not.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_room(folder: Path, needed: int, purpose: str) -> None:
    """Refuses to begin what would fill a disk.

    Args:
      folder: on that disk.
      needed: bytes.
      purpose: what they are for, in the plural.

    Raises:
      InputError: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder} has {free / _GIB:.2f} GiB left, and {purpose} will take "
            f"{needed / _GIB:.2f} GiB; allowed: a folder with more room"
        )
