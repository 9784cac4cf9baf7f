"""Which training images are used as labeled and which as unlabeled."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_advseg.data.catalog import Dataset, read_list
from tf_advseg.errors import InputError, first_line


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
        raise InputError(f"no image of the list {train_split!r} has a label in {dataset.folder}")
    count = int(fraction * len(candidates))
    if count == 0:
        raise InputError(
            f"--labeled_fraction {fraction:g} of {len(candidates)} images labels none; "
            f"allowed: 1/{len(candidates)} to 1"
        )
    order = np.random.default_rng(seed).permutation(len(candidates))
    return _split(ids, [candidates[i] for i in order[:count]])


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
            raise InputError(f"no label {dataset.label_path(image_id)} for {image_id!r}")
    return _split(ids, labeled)


def stored(path: Path) -> Split:
    """Reads back a split.json.

    Raises:
      InputError: it does not hold two lists of ids.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        parts = document["labeled"], document["unlabeled"]
        if not all(isinstance(p, list) and all(isinstance(i, str) for i in p) for p in parts):
            raise TypeError("no lists of ids")
        return Split(tuple(parts[0]), tuple(parts[1]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        found = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"cannot read the split {path}: {found}") from None


def _split(ids: Sequence[str], labeled: Sequence[str]) -> Split:
    chosen = set(labeled)
    return Split(tuple(sorted(chosen)), tuple(i for i in ids if i not in chosen))
