"""Reads every file of a data set, in parallel, and writes none."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from tf_advseg.data.catalog import Dataset, classes_path
from tf_advseg.data.checks.seen import SeenFile, Survey
from tf_advseg.data.classes import Classes
from tf_advseg.data.classes_file import classes_problems
from tf_advseg.data.faults import FileFault
from tf_advseg.data.files import open_dataset
from tf_advseg.data.images import check_sums, decode_all, image_size, in_threads
from tf_advseg.data.labels import label_values, value_counts
from tf_advseg.data.lists import examine_list
from tf_advseg.data.names import Names, is_file
from tf_advseg.errors import InputError

_NO_CLASSES = Classes("", (), ())
_CHUNK = 2**20


def survey(
    name: str, folder: Path, train_split: str, val_split: str, splits: Sequence[str] = ()
) -> Survey:
    """Reads a data set.

    Args:
      name: under which it is registered.
      folder: where it is.
      train_split, val_split: names of the lists of training and of validation images.
      splits: the lists to read; none for all that are there, and these two.

    Raises:
      InputError: there is no folder.
    """
    if not os.path.isdir(folder):
        raise InputError(f"--data_dir {folder} is no folder")
    dataset, problems = _opened(name, folder)
    names = splits or sorted({train_split, val_split, *_list_names(dataset.list_folder)})
    lists = {split: examine_list(dataset.list_path(split)) for split in names}
    ids = list(dict.fromkeys(i for listing in lists.values() for i in listing.ids))
    of_images, of_labels = Names(dataset.image_folder), Names(dataset.label_folder)
    seen = in_threads(
        lambda i: (_look_at_image(dataset, i, of_images), _look_at_label(dataset, i, of_labels)),
        ids,
        "checking files",
    )
    return Survey(
        dataset=dataset,
        classes_problems=problems,
        train_split=train_split,
        val_split=val_split,
        lists=lists,
        images={i: image for i, (image, _) in zip(ids, seen, strict=True)},
        labels={i: label for i, (_, label) in zip(ids, seen, strict=True)},
    )


def _opened(name: str, folder: Path) -> tuple[Dataset, tuple[str, ...]]:
    """Returns the data set, and what is wrong with its classes."""
    try:
        return open_dataset(name, folder), ()
    except InputError as error:
        problems = classes_problems(classes_path(folder))
        return Dataset(folder, _NO_CLASSES), tuple(problems or [str(error)])


def _list_names(folder: Path) -> list[str]:
    return [path.stem for path in folder.glob("*.txt") if not path.name.startswith(".")]


def _look_at_image(dataset: Dataset, image_id: str, names: Names) -> SeenFile:
    paths = dataset.image_paths(image_id)
    try:
        there = [path for path in paths if is_file(path)]
        if not there:
            raise dataset.missing_image(image_id, names)
    except FileFault as fault:
        return SeenFile(paths[0], found=False, fault=fault)
    path, *others = there
    try:
        size = image_size(path)
        decode_all(path)
        return SeenFile(path, size=size, digest=_digest(path), others=tuple(others))
    except FileFault as fault:
        return SeenFile(path, fault=fault, others=tuple(others))


def _look_at_label(dataset: Dataset, image_id: str, names: Names) -> SeenFile:
    path = dataset.label_path(image_id)
    try:
        if not dataset.has_label(image_id):
            fault, hint = dataset.missing_label(image_id, names), names.hint([path.name])
            return SeenFile(path, found=False, fault=fault, hint=hint)
        check_sums(path)
        values = label_values(path)
        return SeenFile(path, size=values.shape, counts=value_counts(values))
    except FileFault as fault:
        return SeenFile(path, fault=fault)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
