"""Data sets: their classes, colours, lists and files. No TensorFlow here.

A data set is a folder in the layout of PASCAL VOC:

    JPEGImages/ID.jpg (or .png)             images
    SegmentationClass/ID.png                labels, indexed or grey; unlabeled ids need none
    ImageSets/Segmentation/train.txt ...    lists of ids, one a line
    classes.json                            {"name", "ignore_label", "classes": [{"name", "color"}]}
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_advseg.data import VOID_LABEL
from tf_advseg.data.classes import CITYSCAPES, VOC2012, Classes
from tf_advseg.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_LONGEST_ID = 240  # Bytes; a file system's names have at most 255, with the suffix.


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
        return read_list(self.folder / "ImageSets" / "Segmentation" / f"{split}.txt")

    def image_path(self, image_id: str) -> Path:
        """Returns the image's path.

        Raises:
          InputError: there is none.
        """
        stem = self.folder / "JPEGImages" / image_id
        for suffix in IMAGE_SUFFIXES:
            path = stem.with_name(stem.name + suffix)
            if path.is_file():
                return path
        raise InputError(f"no image {stem}.jpg (nor .jpeg, .png) for the listed id {image_id!r}")

    def label_path(self, image_id: str) -> Path:
        """Returns where the label is, whether it exists or not."""
        return self.folder / "SegmentationClass" / f"{image_id}.png"

    def has_label(self, image_id: str) -> bool:
        """Returns whether the image has a label file."""
        return self.label_path(image_id).is_file()


def folder(data_dir: Path) -> Dataset:
    """Opens a folder in the layout above.

    Raises:
      InputError: the folder or its classes.json is missing or wrong.
    """
    if not data_dir.is_dir():
        raise InputError(f"--data_dir {data_dir} is no folder")
    return Dataset(data_dir, read_classes(data_dir / "classes.json"))


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
    if not (data_dir / "classes.json").exists() and data_dir.is_dir():
        return Dataset(data_dir, classes)
    dataset = folder(data_dir)
    if dataset.classes.names != classes.names:
        raise InputError(
            f"{data_dir / 'classes.json'} does not have the {len(classes)} classes of "
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


def read_list(path: Path) -> list[str]:
    """Returns the ids in a list file: each line that is not blank, so ids may hold spaces.

    Raises:
      InputError: the file is missing, not UTF-8, empty, names an id twice or one with a path in it.
    """
    try:
        # -sig: Windows editors begin a text with a mark that is no part of it.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot read the list {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"the list {path} is no UTF-8 text") from None
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise InputError(f"the list {path} is empty")
    if len(set(ids)) < len(ids):
        twice = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise InputError(f"the list {path} names {twice!r} twice")
    for image_id in ids:
        too_long = len(image_id.encode()) > _LONGEST_ID
        if "/" in image_id or "\\" in image_id or image_id.startswith(".") or too_long:
            shown = image_id[:_LONGEST_ID]
            raise InputError(f"the list {path} has {shown!r}; allowed: file names without folder")
    return ids


def read_classes(path: Path) -> Classes:
    """Reads a classes.json.

    Raises:
      InputError: the file is missing or does not hold what the layout says.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    return _classes_from_document(document, path)


def _classes_from_document(document: Any, path: Path) -> Classes:
    if not isinstance(document, dict) or not isinstance(document.get("classes"), list):
        raise InputError(f'{path} has no list "classes"')
    void = document.get("ignore_label", VOID_LABEL)
    if not _is_byte(void):
        raise InputError(f'{path}: "ignore_label" is {void!r}; allowed: 0 to 255')
    entries: Sequence[Any] = document["classes"]
    if not 2 <= len(entries) <= VOID_LABEL:
        raise InputError(f"{path} has {len(entries)} classes; allowed: 2 to {VOID_LABEL}")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InputError(f'{path}: class {index} has no "name"')
        color = entry.get("color")
        if not isinstance(color, list) or len(color) != 3 or not all(map(_is_byte, color)):
            raise InputError(
                f'{path}: class {index} has "color" {color!r}; allowed: [R, G, B] in 0-255'
            )
    names = tuple(entry["name"] for entry in entries)
    if len(set(names)) < len(names):
        raise InputError(f"{path} has two classes of one name")
    if void < len(names):
        raise InputError(f'{path}: "ignore_label" {void} is also a class id')
    return Classes(
        name=str(document.get("name", path.parent.name)),
        names=names,
        colors=tuple(tuple(entry["color"]) for entry in entries),
        void_value=void,
    )


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
