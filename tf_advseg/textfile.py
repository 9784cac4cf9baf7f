"""Small text files: written so that a crash leaves the old one or the new one, read within bounds.

Whoever hands over a file may have made it to hurt. So no more of it is read than is
allowed, and a document may not nest deep or have numbers that no machine number holds.
"""

import json
import math
import stat
import unicodedata
import uuid
from pathlib import Path
from typing import Any, NoReturn

from tf_advseg import disk
from tf_advseg.errors import InputError

_ENDING = ".tmp"

#: Bytes of a document with settings, and of a list of ids: millions of them.
MAX_DOCUMENT, MAX_LIST = 2**20, 2**26

_MAX_DEPTH = 20  # Of lists and objects in one another; our own have five.
_TOO_DEEP = f"it nests deeper than the {_MAX_DEPTH} levels that are allowed"
_MAX_DIGITS = 19  # Of a whole number: 64 bits.
#: What moves a terminal's cursor, ends a line, is no text, or is one half of a character.
_UNPRINTABLE = ("Cc", "Zl", "Zp", "Cs")
#: What shows the text after it in another order than it has.
_REORDERING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


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


def is_unfinished(path: Path) -> bool:
    """Returns whether a file is what `write` leaves behind where it is killed."""
    return path.name.startswith(".") and path.name.endswith(_ENDING)


def read(path: Path, max_bytes: int = MAX_DOCUMENT) -> str:
    """Returns the text of a UTF-8 file, without the mark that Windows editors begin it with.

    Raises:
      InputError: it cannot be read, is no regular file, is larger than allowed, or is no UTF-8.
    """
    try:
        # Before it is opened: opening a pipe waits until somebody writes to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"cannot read {path}: it is no regular file")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > max_bytes:
        raise InputError(f"cannot read {path}: it is too large; allowed: {max_bytes} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"cannot read {path}: it is no UTF-8 text") from None


def read_json(path: Path, max_bytes: int = MAX_DOCUMENT) -> Any:
    """Returns what a JSON file holds.

    Raises:
      InputError: as `read`, or it is no JSON as `parse_json` has it.
    """
    text = read(path, max_bytes)
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"cannot read {path}: it is no JSON: {error}") from None


def parse_json(text: str) -> Any:
    """Returns what a JSON text holds.

    Raises:
      ValueError: it is no JSON, nests too deep, has a key twice in an object, or a number that is
        infinite, none, or of more than 64 bits. (Python's own reader takes all but the first two.)
    """
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if isinstance(document, dict | list):
        _check_depth(document, _MAX_DEPTH)
    return document


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise ValueError(_TOO_DEEP)
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _check_depth(item, left - 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"it has the key {shown(twice)} twice")
    return found


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"it has a whole number of {len(text)} digits; allowed: 64 bits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"it has the number {shown(text)}, which is beyond all that are known")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it has the number {name}")


def is_printable(text: str) -> bool:
    """Tells whether a text stays on its line and in its order in any terminal."""
    return all(map(_is_printable, text))


def printable(text: str) -> str:
    """Returns a text with what is not printable written out, as \\x1b."""
    return "".join(c if _is_printable(c) else ascii(c)[1:-1] for c in text)


def _is_printable(character: str) -> bool:
    return unicodedata.category(character) not in _UNPRINTABLE and character not in _REORDERING


def shown(value: Any, longest: int = 80) -> str:
    """Returns a value of a file for a message: as Python writes it, cut off if it is long."""
    text = repr(value)
    return printable(text if len(text) <= longest else text[: longest - 3] + "...")
