"""The folder that a data set is prepared in: what may be in it, and how files get there.

A file is written under another name and then renamed, so that what has its own name is whole. The
manifest, prepare.json, is written first: it tells what the folder is made from, so that it is not
finished from something else. The lists of ids are last: without lists, a folder is no data set.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tf_advseg import textfile
from tf_advseg.data.catalog import Dataset
from tf_advseg.data.classes import Classes
from tf_advseg.data.images import image_size
from tf_advseg.data.prepare.sizes import in_words
from tf_advseg.errors import InputError
from tf_advseg.lock import locked

IMAGES, LABELS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
MANIFEST, CLASSES, ARCHIVES = "prepare.json", "classes.json", "archives"
_UNFINISHED = ".unfinished"
_BEFORE = {ARCHIVES, _UNFINISHED}  # What a folder may hold before there is a manifest.


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

    def remove_lists(self, names: Iterable[str]) -> None:
        """Removes the given lists: without them, the folder is no data set. A user's own stay.

        Raises:
          InputError: one cannot be removed.
        """
        for name in names:
            path = self.path / LISTS / f"{name}.txt"
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise InputError(f"cannot remove {path}: {error.strerror}") from None

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
    busy = f"another process is preparing --data_dir {path}; allowed: another folder"
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(path, busy))
        except OSError as error:
            raise InputError(f"cannot make --data_dir {path}: {error.strerror}") from None
        _refuse_foreign(path)
        # Only now: what another process has begun is not this one's to remove.
        shutil.rmtree(path / _UNFINISHED, ignore_errors=True)
        try:
            yield Folder(path)
        finally:
            _tidy(path, is_new)


def _tidy(path: Path, is_new: bool) -> None:
    """Removes empty folders that are left over."""
    with contextlib.suppress(OSError):
        (path / _UNFINISHED).rmdir()
    if is_new:
        with contextlib.suppress(OSError):
            path.rmdir()


def _refuse_foreign(path: Path) -> None:
    """Raises InputError for a folder that holds files and was not begun by this command."""
    if (path / MANIFEST).is_file():
        return  # Then it may hold a user's notes and lists, too.
    foreign = sorted({entry.name for entry in path.iterdir()} - _BEFORE)
    if foreign:
        raise InputError(
            f"--data_dir {path} holds other files ({foreign[0]}); allowed: a new or empty folder, "
            "or one that this command began"
        )


@dataclasses.dataclass(frozen=True)
class Origin:
    """An archive that a folder is prepared from.

    Attributes:
      part: which it is.
      name: of the file.
      size: in bytes.
      digest: of its content.
      downloaded: whether it was not given but fetched.
    """

    part: str
    name: str
    size: int
    digest: str
    downloaded: bool = False

    @property
    def content(self) -> tuple[str, int, str]:
        """What tells it from others: not its name, which a user may change, or where it is from."""
        return self.part, self.size, self.digest


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a folder is prepared from.

    Attributes:
      data_set: its name.
      choices: flags that change what is prepared.
      lists: list -> number of its ids.
      archives: that it is made of.
    """

    data_set: str
    choices: Mapping[str, str]
    lists: Mapping[str, int]
    archives: tuple[Origin, ...]

    def to_json(self) -> str:
        """Returns the text of a prepare.json."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    def check_same(self, folder: Folder, data_set: str, choices: Mapping[str, str]) -> None:
        """Checks that a command asks for what the folder was begun with.

        Raises:
          InputError: it asks for something else.
        """
        was, now = _words(self.data_set, self.choices), _words(data_set, choices)
        if was != now:
            raise InputError(
                f"--data_dir {folder.path} was begun as {was}, and not as {now}; "
                "allowed: the same again, or another folder"
            )

    def check_same_archives(self, folder: Folder, archives: tuple[Origin, ...]) -> None:
        """Checks that the folder was begun with the given archives.

        Raises:
          InputError: with others.
        """
        known = {origin.content for origin in self.archives}
        other = [origin.name for origin in archives if origin.content not in known]
        if other:
            raise other_archive(folder, other[0])

    def was_downloaded(self, folder: Folder, part: str, official: str | None) -> bool:
        """Tells whether an archive that is not given now was downloaded when the folder was begun.

        Args:
          folder: this manifest's.
          part: which the archive is.
          official: digest of what a download gives; None if there is none.

        Raises:
          InputError: the folder was begun with another one.
        """
        origin = next((origin for origin in self.archives if origin.part == part), None)
        if origin is None:
            return False
        if origin.digest != official:
            raise InputError(
                f"{origin.name} ({part}), which --data_dir {folder.path} was begun with, is "
                "missing; allowed: --archive FILE of it, or another folder"
            )
        return origin.downloaded

    def is_finished(self, folder: Folder, classes: Classes) -> bool:
        """Tells whether the folder has the lists, and an image and a label for each id in them.

        Only whether they exist: a file that was emptied later is not found here, but by training.
        """
        dataset = Dataset(folder.path, classes)
        if not all(folder.has(f"{LISTS}/{name}.txt") for name in self.lists):
            return False
        try:
            listed = {name: dataset.ids(name) for name in self.lists}
            counts = {name: len(ids) for name, ids in listed.items()}
            ids = set().union(*listed.values())
            return counts == self.lists and all(
                dataset.image_path(i) and dataset.has_label(i) for i in ids
            )
        except InputError:
            return False


def other_archive(folder: Folder, name: str) -> InputError:
    """Returns the error for an archive that a folder was not begun with."""
    return InputError(
        f"--data_dir {folder.path} was begun with other archives than {name}; "
        "allowed: the same again, or another folder"
    )


def stored_manifest(folder: Folder) -> Manifest | None:
    """Reads a folder's manifest; None if it has none.

    Raises:
      InputError: it cannot be read, is no JSON, or is none of ours.
    """
    path = folder.path / MANIFEST
    if not path.is_file():
        return None
    document: dict[str, Any] = textfile.read_json(path)
    try:
        origins = tuple(Origin(**origin) for origin in document.pop("archives"))
        read = Manifest(archives=origins, **document)
        _ = _words(read.data_set, read.choices), read.lists.items()  # Of the types that are due.
        return read
    except (TypeError, KeyError, AttributeError):
        raise InputError(
            f"{path} is not what this command writes; allowed: a new or empty folder"
        ) from None


def _words(data_set: str, choices: Mapping[str, str]) -> str:
    return " ".join([data_set, *(f"--{name} {value}" for name, value in choices.items())])
