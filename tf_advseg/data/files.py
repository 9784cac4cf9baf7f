"""The files of a training run, found and checked before TensorFlow is imported."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tf_advseg import registry
from tf_advseg.data import splits
from tf_advseg.data.catalog import Dataset
from tf_advseg.data.classes import Classes
from tf_advseg.data.images import check_images
from tf_advseg.data.labels import classes_in, prepare_labels
from tf_advseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class LabeledFiles:
    """Images with their labels, in one order.

    Attributes:
      ids: as the data set's lists name them.
      images: the files.
      labels: the cached labels (`labels.prepare_labels`).
    """

    ids: tuple[str, ...]
    images: tuple[Path, ...]
    labels: tuple[Path, ...]

    def pairs(self) -> list[tuple[Path, Path]]:
        """Returns (image, cached label) of each."""
        return list(zip(self.images, self.labels, strict=True))

    def at(self, positions: Sequence[int]) -> "LabeledFiles":
        """Returns the images at these positions, in their order."""
        parts = (self.ids, self.images, self.labels)
        return LabeledFiles(*(tuple(part[position] for position in positions) for part in parts))


@dataclasses.dataclass(frozen=True)
class TrainingFiles:
    """What a run reads. `unlabeled` is empty if its method uses no unlabeled images."""

    classes: Classes
    split: splits.Split
    labeled: LabeledFiles
    unlabeled: tuple[Path, ...]
    validation: LabeledFiles

    def classes_without_label(self) -> list[str]:
        """Returns the names of the classes that no labeled image shows."""
        seen = set().union(*(classes_in(label) for label in self.labeled.labels))
        return [name for index, name in enumerate(self.classes.names) if index not in seen]


def open_dataset(name: str, data_dir: Path) -> Dataset:
    """Opens a data set by its registered name.

    Raises:
      InputError: the folder is not what that data set wants.
    """
    return registry.load(registry.DATASETS, name)(data_dir)


def labeled_files(dataset: Dataset, ids: tuple[str, ...]) -> LabeledFiles:
    """Finds, checks and prepares the images and labels of `ids`.

    Raises:
      InputError: a file is missing or wrong.
    """
    images = tuple(dataset.image_path(image_id) for image_id in ids)
    return LabeledFiles(ids, images, tuple(prepare_labels(dataset, ids)))


def training_files(
    dataset: Dataset, split: splits.Split, val_split: str, *, uses_unlabeled: bool
) -> TrainingFiles:
    """Finds and checks every file of a run.

    Args:
      dataset: from `open_dataset`.
      split: the training images.
      val_split: name of the list of validation images.
      uses_unlabeled: whether the method reads the unlabeled images.

    Raises:
      InputError: a file is missing or wrong, or an image is for both training and validation.
    """
    validation = dataset.ids(val_split)
    for problem in shared_problems(val_split, validation, {*split.labeled, *split.unlabeled}):
        raise InputError(problem)
    unlabeled = tuple(dataset.image_path(i) for i in split.unlabeled) if uses_unlabeled else ()
    check_images(unlabeled)
    return TrainingFiles(
        classes=dataset.classes,
        split=split,
        labeled=labeled_files(dataset, split.labeled),
        unlabeled=unlabeled,
        validation=labeled_files(dataset, tuple(validation)),
    )


def shared_problems(val_split: str, validation: Iterable[str], train: Collection[str]) -> list[str]:
    """Says of each id that is for both validation and training, in order, that it is.

    Args:
      val_split: name of the list of validation images.
      validation: its ids.
      train: ids of the training images.
    """
    return [
        f"the list {val_split!r} has the training image {image_id!r}; "
        "allowed: lists that share no image"
        for image_id in sorted(validation)
        if image_id in train
    ]
