"""Data sets: their classes, colours, lists and files. No TensorFlow here.

A data set is a folder in the layout of PASCAL VOC:

    JPEGImages/ID.jpg (or .png)             images
    SegmentationClass/ID.png                labels, indexed or grey; unlabeled ids need none
    ImageSets/Segmentation/train.txt ...    lists of ids, one a line
    classes.json                            {"name", "ignore_label", "classes": [{"name", "color"}]}
"""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from tf_advseg.data.classes import CITYSCAPES, VOC2012, Classes
from tf_advseg.data.classes_file import read_classes
from tf_advseg.data.faults import FileFault
from tf_advseg.data.lists import read_list
from tf_advseg.data.names import Names, is_file, no_file
from tf_advseg.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


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

    def has_image(self, image_id: str) -> bool:
        """Returns whether there is an image file."""
        return any(map(is_file, self.image_paths(image_id)))

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
    return "no regular file" if any(map(no_file, paths)) else f"missing {what}"


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
    if os.path.isdir(data_dir.parent / "JPEGImages") and not os.path.isdir(data_dir / "JPEGImages"):
        raise InputError(
            f"--data_dir {data_dir} holds no JPEGImages; did you mean {data_dir.parent}?"
        )
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
        raise InputError(
            f"cannot write the data set shapes to {data_dir}: {error}; "
            "allowed: a new folder, or --dataset folder for a data set of your own"
        ) from None
    return folder(data_dir)
