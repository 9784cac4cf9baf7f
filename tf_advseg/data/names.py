"""Files found by the ids of a list, and why one is not. No TensorFlow here.

A file system compares names byte by byte. Two names that look alike may differ: in case, or in the
Unicode form of an accent, of which macOS writes another one than most editors.
"""

import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tf_advseg.data.faults import FileFault

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FORMS = ("NFC", "NFD")


def is_file(path: Path) -> bool:
    """Tells whether a regular file is there, or a link to one. Nothing is opened.

    Raises:
      FileFault: it cannot be told, as in a folder that must not be entered.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise FileFault("unreadable file", f"cannot reach {path}: {error.strerror}") from None


def no_file(path: Path) -> str:
    """Says what is there that is no regular file, as in "a pipe"; "" where there is nothing."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError:
        broken = os.path.islink(path)
        return f"a link to {os.readlink(path)!r}, which is not there" if broken else ""


def folded(name: str) -> str:
    """Returns a form in which names that differ only in case or Unicode form are equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Names:
    """The names in a folder, to look for one that was meant.

    Args:
      folder: that is listed, once; it may be missing.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._by_form: dict[str, list[str]] = defaultdict(list)
        try:
            for name in sorted(os.listdir(folder)):
                self._by_form[folded(name)].append(name)
        except OSError:
            pass  # What is looked for in it is then not there, or not reached, and that is told.

    def hint(self, wanted: Sequence[str]) -> str:
        """Says what is there in the place of a file of one of these names; "" if nothing is."""
        for name in wanted:
            if kind := no_file(self._folder / name):
                return f"; {name} is {kind}, allowed: a file"
        for name in wanted:
            for found in self._by_form.get(folded(name), ()):
                return f"; {found!r} is there, which differs {_difference(found, name)}"
        stem = Path(wanted[0]).stem
        if stem in self._by_form.get(folded(stem), ()):
            return f"; {stem!r} is there: a list has ids without suffix"
        return ""


def _difference(found: str, wanted: str) -> str:
    if unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", wanted):
        return f"in its Unicode form ({_form(found)}, and the list has {_form(wanted)}): rename one"
    return "in upper and lower case: rename one"


def _form(name: str) -> str:
    forms = (form for form in _FORMS if unicodedata.is_normalized(form, name))
    return next(forms, "a mixed form")
