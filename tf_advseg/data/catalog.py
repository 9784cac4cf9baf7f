"""Data sets: their classes, colours, lists and files. No TensorFlow here.

A data set is a folder in the layout of PASCAL VOC:

    JPEGImages/ID.jpg (or .png)             images
    SegmentationClass/ID.png                labels, indexed or grey; unlabeled ids need none
    ImageSets/Segmentation/train.txt ...    lists of ids, one a line
    classes.json                            {"name", "ignore_label", "classes": [{"name", "color"}]}
"""

import dataclasses
import json
import os
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tf_advseg import textfile
from tf_advseg.data import VOID_LABEL
from tf_advseg.data.classes import CITYSCAPES, VOC2012, Classes
from tf_advseg.data.faults import FileFault
from tf_advseg.data.names import Names, is_file, no_file
from tf_advseg.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
NO_REGULAR_FILE = "no regular file"  # A kind of `FileFault`.
_LONGEST_ID = 240  # Bytes; a file system's names have at most 255, with the suffix.
_MAX_LIST, _MAX_CLASSES = 2**26, 2**20  # Bytes of a list, and of a classes.json.


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in a folder."""

    folder: Path
    classes: Classes

    def ids(self, split: str) -> list[str]:
        """Returns the ids that ImageSets/Segmentation/SPLIT.txt lists, in its order.

        Raises:
          InputError: the list is missing, empty, or names an id twice.
        """
        return read_list(self.list_path(split))

    @property
    def classes_path(self) -> Path:
        """Where classes.json is, if the data set has one."""
        return classes_path(self.folder)

    @property
    def list_folder(self) -> Path:
        """Where the lists are."""
        return self.folder / "ImageSets" / "Segmentation"

    @property
    def image_folder(self) -> Path:
        """Where the images are."""
        return self.folder / "JPEGImages"

    @property
    def label_folder(self) -> Path:
        """Where the labels are."""
        return self.folder / "SegmentationClass"

    def list_path(self, split: str) -> Path:
        """Returns where a list is, whether it exists or not."""
        return self.list_folder / f"{split}.txt"

    def image_paths(self, image_id: str) -> list[Path]:
        """Returns the files that would be the image, the first of which is taken."""
        return [self.image_folder / f"{image_id}{suffix}" for suffix in IMAGE_SUFFIXES]

    def image_path(self, image_id: str) -> Path:
        """Returns the image's path.

        Raises:
          InputError: there is none.
        """
        for path in self.image_paths(image_id):
            if is_file(path):
                return path
        raise self.missing_image(image_id, Names(self.image_folder))

    def label_path(self, image_id: str) -> Path:
        """Returns where the label is, whether it exists or not."""
        return self.label_folder / f"{image_id}.png"

    def has_label(self, image_id: str) -> bool:
        """Returns whether the image has a label file."""
        return is_file(self.label_path(image_id))

    def missing_image(self, image_id: str, names: Names) -> FileFault:
        """Returns the error for an image that is not there.

        Args:
          image_id: its id.
          names: those of `image_folder`.
        """
        paths = self.image_paths(image_id)
        others = f"(nor {', '.join(IMAGE_SUFFIXES[1:])})"
        hint = names.hint([path.name for path in paths])
        message = f"no image {paths[0]} {others} for the listed id {image_id!r}{hint}"
        return FileFault(_kind_of_missing("image", paths), message)

    def missing_label(self, image_id: str, names: Names) -> FileFault:
        """Returns the error for a label that is not there; `names` are those of `label_folder`."""
        path = self.label_path(image_id)
        message = f"no label {path} for the listed id {image_id!r}{names.hint([path.name])}"
        return FileFault(_kind_of_missing("label", [path]), message)


def _kind_of_missing(what: str, paths: Iterable[Path]) -> str:
    return NO_REGULAR_FILE if any(map(no_file, paths)) else f"missing {what}"


def classes_path(data_dir: Path) -> Path:
    """Returns where classes.json is in a data folder."""
    return data_dir / "classes.json"


def folder(data_dir: Path) -> Dataset:
    """Opens a folder in the layout above.

    Raises:
      InputError: the folder or its classes.json is missing or wrong.
    """
    if not os.path.isdir(data_dir):
        raise InputError(f"--data_dir {data_dir} is no folder")
    return Dataset(data_dir, read_classes(classes_path(data_dir)))


def voc2012(data_dir: Path) -> Dataset:
    """Opens PASCAL VOC 2012's folder (VOCdevkit/VOC2012); it needs no classes.json.

    Raises:
      InputError: there is no such folder, or it has other classes.
    """
    return _with_classes(data_dir, VOC2012)


def cityscapes(data_dir: Path) -> Dataset:
    """Opens Cityscapes in the layout above, with its 19 training ids as labels.

    Raises:
      InputError: there is no such folder, or it has other classes.
    """
    return _with_classes(data_dir, CITYSCAPES)


def _with_classes(data_dir: Path, classes: Classes) -> Dataset:
    if not os.path.lexists(classes_path(data_dir)) and os.path.isdir(data_dir):
        return Dataset(data_dir, classes)
    dataset = folder(data_dir)
    if dataset.classes.names != classes.names:
        raise InputError(
            f"{classes_path(data_dir)} does not have the {len(classes)} classes of "
            f"{classes.name}; allowed: those, or --dataset folder"
        )
    return dataset


def shapes(data_dir: Path) -> Dataset:
    """Opens the generated data set, after writing it to `data_dir` if nothing is there.

    Raises:
      InputError: the folder holds something else, or cannot be written.
    """
    from tf_advseg.data import shapes as generator

    try:
        generator.write_dataset(data_dir)
    except OSError as error:
        raise InputError(f"cannot write the data set shapes to {data_dir}: {error}") from None
    return folder(data_dir)


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
        lines = textfile.read(path, _MAX_LIST).splitlines()
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


def read_classes(path: Path) -> Classes:
    """Reads a classes.json.

    Raises:
      InputError: the file is missing or does not hold what the layout says.
    """
    document = _read_json(path)
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
        return list(_document_problems(_read_json(path), path))
    except InputError as error:
        return [str(error)]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(textfile.read(path, _MAX_CLASSES))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from None


def _document_problems(document: Any, path: Path) -> Iterator[str]:
    """Yields what is wrong with the content of a classes.json."""
    if not isinstance(document, dict) or not isinstance(document.get("classes"), list):
        yield f'{path} has no list "classes"'
        return
    entries = document["classes"]
    void = document.get("ignore_label", VOID_LABEL)
    if not _is_byte(void):
        yield f'{path}: "ignore_label" is {reprlib.repr(void)}; allowed: 0 to 255'
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
            yield f"{path} has two classes of one name, {name!r}"


def _entry_problems(entry: Any) -> Iterator[str]:
    yield from _name_problems(entry)
    color = entry.get("color") if isinstance(entry, dict) else None
    if not isinstance(color, list) or len(color) != 3 or not all(map(_is_byte, color)):
        yield f'has "color" {reprlib.repr(color)}; allowed: [R, G, B] in 0-255'


def _name_problems(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        yield 'has no "name"'
    elif not _is_text(entry["name"]):
        yield f'has the "name" {reprlib.repr(entry["name"])}; allowed: Unicode text'


def _is_text(name: str) -> bool:
    """Tells whether a name can be written to a file: JSON can hold halves of characters."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
