"""Whether a data folder is still what a run began with. No TensorFlow here."""

from pathlib import Path

from tf_advseg.data.catalog import Dataset
from tf_advseg.data.classes_file import read_classes
from tf_advseg.data.splits import Split
from tf_advseg.errors import InputError


def require_images(dataset: Dataset, split: Split, run_dir: Path) -> None:
    """Refuses a data folder that lacks training images of the run in `run_dir`.

    Raises:
      InputError: it does.
    """
    ids = (*split.labeled, *split.unlabeled)
    missing = [image_id for image_id in ids if not dataset.has_image(image_id)]
    missing += [image_id for image_id in split.labeled if not dataset.has_label(image_id)]
    if missing:
        raise InputError(
            f"{dataset.folder} has no image, or no label, for {missing[0]!r}, one of "
            f"{len(set(missing))} with which the run in {run_dir} began and that are missing; "
            "allowed: a --data_dir that has them, or another --run_dir"
        )


def require_classes(dataset: Dataset, classes_file: Path) -> None:
    """Refuses a data folder whose classes are not those of a run.

    Raises:
      InputError: they are not, or the run's cannot be read.
    """
    began, has = read_classes(classes_file).names, dataset.classes.names
    if began != has:
        raise InputError(
            f"{dataset.folder} has the classes {', '.join(has)}, and the run in "
            f"{classes_file.parent} began with {', '.join(began)}; allowed: a --data_dir that has "
            "these, in this order, or another --run_dir"
        )
