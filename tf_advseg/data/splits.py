"""Which training images are used as labeled and which as unlabeled."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_advseg import textfile
from tf_advseg.data.catalog import Dataset
from tf_advseg.data.lists import check_ids, read_list
from tf_advseg.data.names import Names
from tf_advseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Split:
    """Ids of the labeled and of the unlabeled training images, sorted; no id is in both."""

    labeled: tuple[str, ...]
    unlabeled: tuple[str, ...]

    def to_json(self) -> str:
        """Returns the text of a split.json."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def by_fraction(dataset: Dataset, train_split: str, fraction: float, seed: int) -> Split:
    """Draws int(fraction * N) of the N training images that have a label file.

    The rest of the list, and images without a label file, are unlabeled. With one seed a smaller
    fraction's labeled images are among a larger one's, so that fractions can be compared.

    Raises:
      InputError: no image has a label, or the fraction is too small to label one.
    """
    ids = sorted(dataset.ids(train_split))
    candidates = [i for i in ids if dataset.has_label(i)]
    if not candidates:
        raise InputError(no_labels(train_split, dataset.folder))
    count = int(fraction * len(candidates))
    if count == 0:
        raise InputError(
            f"--labeled_fraction {fraction:g} of {len(candidates)} images labels none; "
            f"allowed: 1/{len(candidates)} to 1"
        )
    order = np.random.default_rng(seed).permutation(len(candidates))
    return _split(ids, [candidates[i] for i in order[:count]])


def no_labels(train_split: str, folder: Path) -> str:
    """Says that a list of training images has not one with a label in the data folder."""
    return f"no image of the list {train_split!r} has a label in {folder}"


def by_list(dataset: Dataset, train_split: str, list_file: Path) -> Split:
    """Takes the ids in `list_file` as labeled, and the rest of the training list as unlabeled.

    Raises:
      InputError: the file is wrong, or names an id that is not in the training list or not labeled.
    """
    ids = sorted(dataset.ids(train_split))
    labeled = read_list(list_file)
    known = set(ids)
    for image_id in labeled:
        if image_id not in known:
            raise InputError(
                f"{list_file} has {image_id!r}, which the list {train_split!r} has not"
            )
        if not dataset.has_label(image_id):
            raise dataset.missing_label(image_id, Names(dataset.label_folder))
    return _split(ids, labeled)


def stored(path: Path) -> Split:
    """Reads back a split.json.

    Raises:
      InputError: it cannot be read, or does not hold two lists of ids.
    """
    document = textfile.read_json(path, textfile.MAX_LIST)
    try:
        parts = document["labeled"], document["unlabeled"]
    except (TypeError, KeyError):
        raise InputError(f"cannot read {path}: it has no lists labeled and unlabeled") from None
    for ids in parts:
        if not isinstance(ids, list) or not all(isinstance(image_id, str) for image_id in ids):
            raise InputError(f"cannot read {path}: it has a list of something else than ids")
        check_ids(ids, path)
    return Split(tuple(parts[0]), tuple(parts[1]))


def _split(ids: Sequence[str], labeled: Sequence[str]) -> Split:
    chosen = set(labeled)
    return Split(tuple(sorted(chosen)), tuple(i for i in ids if i not in chosen))
