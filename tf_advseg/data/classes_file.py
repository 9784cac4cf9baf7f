"""The classes of a data set, read from its classes.json. No TensorFlow here."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tf_advseg import textfile
from tf_advseg.data import VOID_LABEL
from tf_advseg.data.classes import Classes
from tf_advseg.errors import InputError


def read_classes(path: Path) -> Classes:
    """Reads a classes.json.

    Raises:
      InputError: the file is missing or does not hold what the layout says.
    """
    document = textfile.read_json(path)
    for problem in _document_problems(document, path):
        raise InputError(problem)
    entries = document["classes"]
    return Classes(
        name=str(document.get("name", path.parent.name)),
        names=tuple(entry["name"] for entry in entries),
        colors=tuple(tuple(entry["color"]) for entry in entries),
        void_value=document.get("ignore_label", VOID_LABEL),
    )


def classes_problems(path: Path) -> list[str]:
    """Returns all that is wrong with a classes.json; `read_classes` ends with the first."""
    try:
        return list(_document_problems(textfile.read_json(path), path))
    except InputError as error:
        return [str(error)]


def _document_problems(document: Any, path: Path) -> Iterator[str]:
    """Yields what is wrong with the content of a classes.json."""
    if not isinstance(document, dict) or not isinstance(document.get("classes"), list):
        yield f'{path} has no list "classes"'
        return
    entries = document["classes"]
    void = document.get("ignore_label", VOID_LABEL)
    if not _is_byte(void):
        yield f'{path}: "ignore_label" is {textfile.shown(void)}; allowed: 0 to 255'
    elif void < len(entries) <= VOID_LABEL:
        yield f'{path}: "ignore_label" {void} is also a class id'
    if not 2 <= len(entries) <= VOID_LABEL:
        yield f"{path} has {len(entries)} classes; allowed: 2 to {VOID_LABEL}"
        return
    for index, entry in enumerate(entries):
        yield from (f"{path}: class {index} {problem}" for problem in _entry_problems(entry))
    names = [entry["name"] for entry in entries if not any(_name_problems(entry))]
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{path} has two classes of one name, {textfile.shown(name)}"


def _entry_problems(entry: Any) -> Iterator[str]:
    yield from _name_problems(entry)
    color = entry.get("color") if isinstance(entry, dict) else None
    if not isinstance(color, list) or len(color) != 3 or not all(map(_is_byte, color)):
        yield f'has "color" {textfile.shown(color)}; allowed: [R, G, B] in 0-255'


def _name_problems(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        yield 'has no "name"'
    elif not (entry["name"] and textfile.is_printable(entry["name"])):
        allowed = "allowed: names that can be printed on one line"
        yield f'has the "name" {textfile.shown(entry["name"])}; {allowed}'


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
