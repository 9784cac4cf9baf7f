"""prepare.json: what a folder was prepared from, so that it is not finished from something else."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tf_advseg.data.catalog import Dataset
from tf_advseg.data.classes import Classes
from tf_advseg.data.prepare.layout import LISTS, MANIFEST, Folder
from tf_advseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Origin:
    """An archive: which part it is, its file's name and bytes, and its digest."""

    part: str
    name: str
    size: int
    digest: str

    @property
    def content(self) -> tuple[str, int, str]:
        """What tells it from others: not its name, which a user may change."""
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

    def is_finished(self, folder: Folder, classes: Classes) -> bool:
        """Tells whether the folder has the lists, and an image and a label for each id in them."""
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


def stored(folder: Folder) -> Manifest | None:
    """Reads a folder's manifest; None if it has none.

    Raises:
      InputError: it is none of ours.
    """
    path = folder.path / MANIFEST
    if not path.is_file():
        return None
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        origins = tuple(Origin(**origin) for origin in document.pop("archives"))
        read = Manifest(archives=origins, **document)
        _ = _words(read.data_set, read.choices), read.lists.items()  # Of the types that are due.
        return read
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            f"{path} is not what this command writes; allowed: a new or empty folder"
        ) from None


def _words(data_set: str, choices: Mapping[str, str]) -> str:
    return " ".join([data_set, *(f"--{name} {value}" for name, value in choices.items())])
