"""Lists of ids: text files with one a line. No TensorFlow here."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tf_advseg import textfile
from tf_advseg.errors import InputError

_LONGEST_ID = 240  # Bytes; a file system's names have at most 255, with the suffix.


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a list file holds.

    Attributes:
      ids: that can be used, each once, in the order of the list.
      problems: what is wrong with the list; training ends with the first.
    """

    ids: tuple[str, ...]
    problems: tuple[str, ...] = ()


def read_list(path: Path) -> list[str]:
    """Returns the ids in a list file: each line that is not blank, so ids may hold spaces.

    Raises:
      InputError: the file is missing, not UTF-8, empty, names an id twice or one with a path in it.
    """
    listing = examine_list(path)
    for problem in listing.problems[:1]:
        raise InputError(problem)
    return list(listing.ids)


def examine_list(path: Path) -> Listing:
    """Reads a list file as `read_list` does, to its end, and returns every problem with it."""
    try:
        lines = textfile.read(path, textfile.MAX_LIST).splitlines()
    except InputError as error:
        return Listing((), (str(error),))
    counts = Counter(line.strip() for line in lines if line.strip())
    if not counts:
        return Listing((), (f"the list {path} is empty",))
    twice = [
        f"the list {path} names {textfile.shown(image_id)} twice"
        for image_id, count in counts.items()
        if count > 1
    ]
    wrong = [_wrong_id(image_id, path) for image_id in counts if not _is_name(image_id)]
    return Listing(tuple(filter(_is_name, counts)), (*twice, *wrong))


def first_repeated(names: Sequence[str]) -> str | None:
    """Returns the first name that was there before; None if there is none."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def check_ids(ids: Sequence[str], path: Path) -> None:
    """Checks that ids are names of files that lie in one folder and can be told on one line.

    Raises:
      InputError: one is none; `path` is where they are from.
    """
    for image_id in ids:
        if not _is_name(image_id):
            raise InputError(_wrong_id(image_id, path))


def _wrong_id(image_id: str, path: Path) -> str:
    found = textfile.shown(image_id)
    return f"the list {path} has {found}; allowed: file names without folder"


def _is_name(image_id: str) -> bool:
    """Tells whether an id is a file's name, which can lead to no other folder."""
    leads_away = {"/", "\\"} & set(image_id) or image_id.startswith(".")
    # What is printable is asked first: half of a character has no bytes.
    if not image_id or leads_away or not textfile.is_printable(image_id):
        return False
    return len(image_id.encode()) <= _LONGEST_ID
