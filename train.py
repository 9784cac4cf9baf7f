"""Trains a segmenter. `python train.py --help` lists the flags; without any, it runs the demo."""

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tf_advseg import cli, cluster, config, resume
from tf_advseg.errors import InputError
from tf_advseg.evaluation import results
from tf_advseg.train_options import TrainConfig

if TYPE_CHECKING:
    from tf_advseg.data.catalog import Dataset
    from tf_advseg.data.files import TrainingFiles
    from tf_advseg.data.splits import Split

# Everything that imports NumPy, Pillow or TensorFlow is imported where it is used: help and wrong
# flags are told before any of them is loaded, and wrong data before TensorFlow is.


def main() -> None:
    settings = config.train_config()
    workers = cluster.of_run(settings.strategy, os.environ)
    with contextlib.ExitStack() as stack:
        if not workers.is_chief:
            # Several workers train one run, and one of them tells about it.
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        train(settings, workers)


def train(settings: TrainConfig, workers: cluster.Cluster) -> None:
    """Trains a run, and says how well; of several workers each calls it."""
    run_dir = Path(settings.run_dir)
    if results.is_finished(run_dir, settings.steps):
        print(f"{run_dir} is finished: {settings.steps} steps")
        return
    for warning in config.preset_warnings():
        print(f"warning: {warning}", file=sys.stderr)
    if (run_dir / config.CONFIG_FILE).is_file():
        for change in resume.changes(config.stored_config(run_dir), settings):
            print(f"changed: {change}")
    elif settings.resume:
        print(f"no run in {run_dir} yet: this begins one")
    training_files = open_files(settings)

    from tf_advseg.training import run

    command = shlex.join(["python", *sys.argv])
    values = run.train(settings, training_files, workers, command)
    print(f"mean IoU {100 * values['mean_iou']:.2f} %, best {100 * values['best_mean_iou']:.2f} %")
    if values["protocol"] != results.FULL_IMAGES:
        print(f"measured on {values['protocol']}; compare with numbers of that kind only")
    print(f"results in {run_dir / results.RESULTS_FILE}")


def open_files(settings: TrainConfig) -> "TrainingFiles":
    """Finds, checks and splits the data, and says what it found."""
    from tf_advseg.data import files

    dataset = files.open_dataset(settings.dataset, Path(settings.data_dir))
    if settings.void_as_background:
        _ = dataset.classes.background  # Refused now, if there is no such class.
    split = choose_split(settings, dataset)
    uses_unlabeled = settings.recipe().uses_unlabeled
    if uses_unlabeled and not split.unlabeled:
        raise InputError(
            f"--method {settings.method} needs unlabeled images, but all {len(split.labeled)} are "
            "labeled; allowed: a smaller --labeled_fraction, or --method adv or baseline"
        )
    try:
        found = files.training_files(
            dataset, split, settings.val_split, uses_unlabeled=uses_unlabeled
        )
    except InputError as error:
        check = ["python", "-m", "tf_advseg.data.prepare", "check"]
        told_by = [*check, "--dataset", settings.dataset, "--data_dir", settings.data_dir]
        raise InputError(f"{error}; all that is wrong tells {shlex.join(told_by)}") from None
    print(
        f"{dataset.classes.name}: {len(dataset.classes)} classes, {len(split.labeled)} labeled and "
        f"{len(split.unlabeled)} unlabeled images"
        f"{'' if uses_unlabeled else ' (not used)'}, {len(found.validation.ids)} for validation"
    )
    for warning in data_warnings(settings, found):
        print(f"warning: {warning}", file=sys.stderr)
    return found


def data_warnings(settings: TrainConfig, found: "TrainingFiles") -> Iterator[str]:
    """Says what of the data works, but is seldom meant."""
    from tf_advseg.data import padding

    if missing := found.classes_without_label():
        yield f"no labeled image shows {', '.join(missing)}"
    if settings.crop_rule == "scale":  # The other one resizes to the crop.
        sizes = settings.crop_size, settings.input_scale, settings.random_scale
        if problem := padding.padding_problem(found.labeled.labels, *sizes):
            yield problem


def choose_split(settings: TrainConfig, dataset: "Dataset") -> "Split":
    """Returns the split of the run that is resumed, or draws the one that the flags ask for.

    Raises:
      InputError: a wrong list or fraction, or data that are not those of the run that is resumed.
    """
    from tf_advseg.data import splits, unchanged

    run_dir = Path(settings.run_dir)
    if (classes := run_dir / config.CLASSES_FILE).is_file():
        unchanged.require_classes(dataset, classes)
    if (stored := run_dir / config.SPLIT_FILE).is_file():
        split = splits.stored(stored)
        unchanged.require_images(dataset, split, run_dir)
        return split
    if settings.labeled_list:
        return splits.by_list(dataset, settings.train_split, Path(settings.labeled_list))
    return splits.by_fraction(
        dataset, settings.train_split, settings.labeled_fraction, settings.seed
    )


if __name__ == "__main__":
    cli.run(main)
