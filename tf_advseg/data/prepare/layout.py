"""The folder that a data set is prepared in: what may be in it, and how files get there.

A file is written under another name and then renamed, so that what has its own name is whole. The
manifest is written first, and the lists of ids last: without lists, a folder is no data set.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tf_advseg.data.images import image_size
from tf_advseg.errors import InputError

IMAGES, LABELS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
MANIFEST, CLASSES, ARCHIVES = "prepare.json", "classes.json", "archives"
_UNFINISHED = ".unfinished"
_BEFORE = {ARCHIVES, _UNFINISHED}  # What a folder may hold before there is a manifest.
_OURS = {*_BEFORE, MANIFEST, CLASSES, IMAGES, LABELS, LISTS.split("/")[0]}


class Folder:
    """A data set's folder; paths in it are text with slashes."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def archives(self) -> Path:
        """Where downloads are kept."""
        return self.path / ARCHIVES

    def has(self, name: str) -> bool:
        """Tells whether a file is there."""
        return (self.path / name).is_file()

    def has_whole_image(self, name: str) -> bool:
        """Tells whether an image is there and ends as it should.

        After a power failure a file may be there without its content.
        """
        try:
            return self.has(name) and bool(image_size(self.path / name))
        except InputError:
            return False

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Writes a file at once or not at all.

        Args:
          name: its path in the folder.
          content: its bytes.
          durable: whether to wait until the disk has it.

        Raises:
          InputError: it cannot be written.
        """
        target, temporary = self.path / name, self.path / _UNFINISHED / Path(name).name
        try:
            temporary.parent.mkdir(exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            raise InputError(f"cannot write {target}: {error.strerror}") from None

    def sync(self) -> None:
        """Waits until the disk has everything that was written."""
        os.sync()

    def remove_lists(self) -> None:
        """Removes the lists, so that the folder is no data set until they are written again."""
        shutil.rmtree(self.path / LISTS, ignore_errors=True)

    def check_space(self, needed: int) -> None:
        """Checks that the disk has room for `needed` bytes.

        Raises:
          InputError: it has not.
        """
        free = shutil.disk_usage(self.path).free
        if needed > free:
            raise InputError(
                f"--data_dir {self.path} needs {in_words(needed)} more, and its disk has "
                f"{in_words(free)} free; allowed: a folder on a disk with more"
            )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """Makes a folder if it is missing, and keeps other processes from preparing it meanwhile.

    Raises:
      InputError: it cannot be made, holds files of others, or another process prepares it.
    """
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"cannot make --data_dir {path}: {error.strerror}") from None
    try:
        _lock(path, handle)
        _refuse_foreign(path)
        shutil.rmtree(path / _UNFINISHED, ignore_errors=True)
        yield Folder(path)
    finally:
        with contextlib.suppress(OSError):
            (path / _UNFINISHED).rmdir()
        if is_new:
            with contextlib.suppress(OSError):
                path.rmdir()  # Only if nothing was written.
        os.close(handle)


def _lock(path: Path, handle: int) -> None:
    """Locks a folder until its handle is closed, at the latest when the process ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"another process is preparing --data_dir {path}") from None
    except OSError:
        pass  # A network's file system may have no locks.


def _refuse_foreign(path: Path) -> None:
    allowed = _OURS if (path / MANIFEST).is_file() else _BEFORE
    foreign = sorted({entry.name for entry in path.iterdir()} - allowed)
    if foreign:
        raise InputError(
            f"--data_dir {path} holds other files ({foreign[0]}); allowed: a new or empty folder, "
            "or one that this command began"
        )


def in_words(size: int) -> str:
    """Returns a number of bytes in GB or MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
