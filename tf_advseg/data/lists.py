"""Lists of ids: text files with one a line. No TensorFlow here."""

import dataclasses
from collections import Counter
from pathlib import Path

from tf_advseg import textfile
from tf_advseg.errors import InputError

_LONGEST_ID = 240  # Bytes; a file system's names have at most 255, with the suffix.
_MAX_BYTES = 2**26


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
        lines = textfile.read(path, _MAX_BYTES).splitlines()
    except OSError as error:
        return Listing((), (f"cannot read the list {path}: {error.strerror}",))
    except UnicodeDecodeError:
        return Listing((), (f"the list {path} is no UTF-8 text",))
    counts = Counter(line.strip() for line in lines if line.strip())
    if not counts:
        return Listing((), (f"the list {path} is empty",))
    twice = [f"the list {path} names {i!r} twice" for i, count in counts.items() if count > 1]
    wrong = [
        f"the list {path} has {image_id[:_LONGEST_ID]!r}; allowed: file names without folder"
        for image_id in counts
        if not _is_name(image_id)
    ]
    return Listing(tuple(filter(_is_name, counts)), (*twice, *wrong))


def _is_name(image_id: str) -> bool:
    """Tells whether an id is a file's name, which can lead to no other folder."""
    too_long = len(image_id.encode()) > _LONGEST_ID
    return not (set("/\\\0") & set(image_id) or image_id.startswith(".") or too_long)
