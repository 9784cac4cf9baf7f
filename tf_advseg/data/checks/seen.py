"""What reading the files of a data set told; the checks look at nothing else."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from tf_advseg.data.catalog import Dataset
from tf_advseg.data.faults import FileFault
from tf_advseg.data.lists import Listing


@dataclasses.dataclass(frozen=True)
class SeenFile:
    """An image or a label.

    Attributes:
      path: where it is; or would be, if there is none.
      found: whether a regular file is there, or cannot be told to be.
      fault: why it cannot be used; None if it can.
      hint: what is there in its place, where none is found; else "".
      size: height and width in pixels, as shown; None if it cannot be used.
      digest: of an image's bytes.
      counts: value -> number of its pixels, of a label.
      others: further files that would be the image, of which training takes no notice.
    """

    path: Path
    found: bool = True
    fault: FileFault | None = None
    hint: str = ""
    size: tuple[int, int] | None = None
    digest: str = ""
    counts: Mapping[int, int] = dataclasses.field(default_factory=dict)
    others: tuple[Path, ...] = ()


@dataclasses.dataclass(frozen=True)
class Survey:
    """A data set, read to its last byte.

    Attributes:
      dataset: its classes are empty if they cannot be read.
      classes_problems: why they cannot be; empty if they can.
      train_split, val_split: names of the lists of training and of validation images.
      lists: name -> content of each list that was read.
      images, labels: id -> file, for the ids of all lists, in their order.
    """

    dataset: Dataset
    classes_problems: tuple[str, ...]
    train_split: str
    val_split: str
    lists: Mapping[str, Listing]
    images: Mapping[str, SeenFile]
    labels: Mapping[str, SeenFile]

    @property
    def train_ids(self) -> tuple[str, ...]:
        """Ids of the training images; none if their list was not read."""
        return self.lists[self.train_split].ids if self.train_split in self.lists else ()

    @property
    def val_ids(self) -> tuple[str, ...]:
        """Ids of the validation images; none if their list was not read."""
        return self.lists[self.val_split].ids if self.val_split in self.lists else ()

    def files(self) -> set[Path]:
        """Returns every file that was looked at, or looked for."""
        listed = {self.dataset.list_path(split) for split in self.lists}
        labels = {label.path for label in self.labels.values() if label.found}
        classes = {self.dataset.classes_path} if os.path.lexists(self.dataset.classes_path) else ()
        return {*listed, *classes, *(image.path for image in self.images.values()), *labels}

    def class_counts(self) -> list[int]:
        """Returns the number of pixels of each class, over all labels."""
        totals = [0] * len(self.dataset.classes)
        for label in self.labels.values():
            for value, count in label.counts.items():
                if value < len(totals):
                    totals[value] += count
        return totals
