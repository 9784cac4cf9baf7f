"""One process at a time in a folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tf_advseg.errors import InputError


@contextlib.contextmanager
def locked(folder: Path, refusal: str) -> Iterator[None]:
    """Locks a folder for this process; the lock ends with it, however it ends.

    Args:
      folder: that exists.
      refusal: what is told where another process has the lock.

    Raises:
      InputError: another process has the lock.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(refusal) from None
        except OSError:
            pass  # A network's file system may have no locks.
        yield
    finally:
        os.close(handle)
