"""Evaluates a run or an export. `python evaluate.py --help` lists the flags."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tf_advseg import cli, config
from tf_advseg.errors import InputError
from tf_advseg.evaluation import comparison, results
from tf_advseg.options import FULL, RANDOM_CROP, EvaluateConfig

if TYPE_CHECKING:
    from tf_advseg.data.classes import Classes
    from tf_advseg.data.files import LabeledFiles
    from tf_advseg.evaluation.batching import BatchLimit
    from tf_advseg.evaluation.protocols import Protocol
    from tf_advseg.evaluation.subject import Subject

# Everything that imports NumPy, Pillow or TensorFlow is imported where it is used: help and wrong
# flags are told before any of them is loaded, and wrong data before TensorFlow is.

#: What only training can measure.
TRAINING_KEYS = (
    "best_mean_iou",
    "training_seconds",
    "train_selected_fraction",
    "discriminator_loss",
    "peak_memory_bytes",
)


class Task(NamedTuple):
    """What is to be evaluated, and how."""

    files: "LabeledFiles"
    protocol: "Protocol"
    other: comparison.Scored | None = None  # What it is compared with.


def main() -> None:
    settings = config.evaluate_config()
    task = None
    if settings.run_dir and not settings.images:
        from tf_advseg.data.classes_file import read_classes

        run_dir = Path(settings.run_dir)
        trained = dataclasses.asdict(config.stored_config(run_dir))
        task = choose_task(settings, trained, read_classes(run_dir / config.CLASSES_FILE))
    subject = open_subject(settings)
    if settings.run_dir:
        results.warn_unfinished(Path(settings.run_dir), subject.settings["steps"])
    if settings.images:
        segment_folder(settings, subject)
    else:
        task = task or choose_task(settings, subject.settings, subject.classes)
        evaluate_split(settings, subject, task)


def open_subject(settings: EvaluateConfig) -> "Subject":
    """Loads the run's checkpoint, or the export in its place."""
    from tf_advseg.evaluation import subject

    if not settings.saved_model:
        return subject.open_run(settings)
    export = subject.open_export(Path(settings.saved_model))
    if settings.run_dir:
        from tf_advseg.data.classes_file import read_classes

        trained = read_classes(Path(settings.run_dir) / config.CLASSES_FILE)
        require_classes(f"--saved_model {settings.saved_model}", export.classes, trained)
    return export


def evaluate_split(settings: EvaluateConfig, subject: "Subject", task: Task) -> None:
    """Evaluates the images of a split, prints the tables, and writes the results and the report."""
    from tf_advseg.evaluation import masks, tables

    files, protocol, other = task
    predict = protocol.wrap(subject.predict, subject.padding_color)
    begin = time.perf_counter()
    evaluated = masks.evaluate_files(
        predict,
        files,
        subject.classes,
        protocol,
        subject.settings["t_semi"],
        settings.save_masks and Path(settings.save_masks),
        batch_limit(settings),
    )
    seconds = time.perf_counter() - begin
    scores = evaluated.scores
    if protocol.is_unusual:
        print(f"{protocol.describe()}; compare with numbers of that kind only")
    print(tables.table(scores, subject.classes.names, selects=subject.selects))
    if settings.run_dir is None:
        return
    run_dir = Path(settings.run_dir)
    values = tables.score_values(scores, subject.classes.names, selects=subject.selects)
    values |= run_values(run_dir, subject)
    values |= {"images_per_second": scores.images / seconds, "protocol": protocol.describe()}
    output = run_dir / "evaluation" / results.RESULTS_FILE
    write_results(output, values)
    if other is not None:
        own = comparison.Scored(run_dir.resolve().name, values)
        print(f"\n{comparison.table(own, other)}\n")
    print(f"results in {output}")

    from tf_advseg.report import gather, write

    evaluation = gather.Evaluation(
        run_dir, settings, subject, predict, files, protocol, evaluated, values
    )
    page = write.write(gather.gather(evaluation), output.parent)
    print(f"report in {page}")


def write_results(output: Path, values: dict[str, Any]) -> None:
    """Writes a results.json into the folder of a run's evaluation, which is made if missing."""
    try:
        output.parent.mkdir(exist_ok=True)
        results.write(output, values)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}") from None


def choose_task(settings: EvaluateConfig, trained: dict[str, Any], classes: "Classes") -> Task:
    """Returns which files are evaluated, what of an image is seen, and what it is compared with.

    Args:
      settings: the flags.
      trained: the values of the configuration that the model was trained with.
      classes: that it predicts.

    Raises:
      InputError: flags that do not fit the run, data that is missing or wrong, or another run to
        compare with that cannot be.
    """
    values, other = protocol_values(settings, trained, classes), None
    if settings.compare:
        other = comparison.other_run(Path(settings.compare), trained, classes.name, classes.names)
    files = split_files(settings, trained, classes)

    from tf_advseg.evaluation.protocols import Protocol

    return Task(files, Protocol(**values), other)


def protocol_values(
    settings: EvaluateConfig, trained: dict[str, Any], classes: "Classes"
) -> dict[str, Any]:
    """Returns the values of the Protocol: as the flags say, or else as the run was validated."""
    name = settings.eval_protocol or trained["eval_protocol"]
    size = settings.eval_size or trained["eval_size"]
    if name != FULL and size is None:
        raise InputError(f"--eval_protocol {name} needs --eval_size")
    if name == RANDOM_CROP and settings.save_masks:
        raise InputError(
            "--save_masks means nothing for random crops; allowed: --eval_protocol full"
        )
    if name == RANDOM_CROP and trained["input_scale"] != 1:
        raise InputError(
            "--eval_protocol random_crop resizes the crops itself, and the run has "
            f"--input_scale {trained['input_scale']}; allowed: full or padded"
        )
    counts = settings.void_as_background
    counts = trained["void_as_background"] if counts is None else counts
    void_class = classes.background if counts else None
    return {"name": name, "size": size, "seed": trained["seed"], "void_class": void_class}


def split_files(
    settings: EvaluateConfig, trained: dict[str, Any], classes: "Classes"
) -> "LabeledFiles":
    """Finds and checks the images and labels to evaluate.

    Args:
      settings: the flags.
      trained: the values of the configuration that the model was trained with.
      classes: that it predicts.
    """
    from tf_advseg.data.files import labeled_files, open_dataset

    dataset = open_dataset(trained["dataset"], Path(settings.data_dir or trained["data_dir"]))
    require_classes(str(dataset.folder), dataset.classes, classes)
    return labeled_files(dataset, tuple(dataset.ids(settings.split or trained["val_split"])))


def require_classes(owner: str, classes: "Classes", expected: "Classes") -> None:
    """Raises InputError unless both have the same names in the same order."""
    if classes.names != expected.names:
        raise InputError(
            f"{owner} has the classes {', '.join(classes.names)}; "
            f"allowed: those of the run, {', '.join(expected.names)}"
        )


def run_values(run_dir: Path, subject: "Subject") -> dict[str, Any]:
    """Returns what a results.json says of the run rather than of this evaluation."""
    from tf_advseg.data import splits

    trained = results.read(run_dir / results.RESULTS_FILE) or {}
    split = splits.stored(run_dir / config.SPLIT_FILE)
    uses_unlabeled = config.stored_config(run_dir).recipe().uses_unlabeled
    return {key: trained.get(key) for key in TRAINING_KEYS} | {
        "steps": subject.step if subject.step is not None else trained.get("steps"),
        "method": subject.settings["method"],
        "dataset": subject.classes.name,
        "seed": subject.settings["seed"],
        "labeled_images": len(split.labeled),
        "unlabeled_images": len(split.unlabeled) if uses_unlabeled else 0,
    }


def batch_limit(settings: EvaluateConfig) -> "BatchLimit | None":
    """Returns the limit of a batch that the flags ask for; None for what suits the device."""
    from tf_advseg.evaluation.batching import BatchLimit

    return settings.batch_size and BatchLimit(settings.batch_size)


def segment_folder(settings: EvaluateConfig, subject: "Subject") -> None:
    """Writes a mask for each image of a folder."""
    from tf_advseg.evaluation import masks

    count = masks.segment_folder(
        subject.predict,
        Path(settings.images),
        Path(settings.save_masks),
        subject.classes,
        batch_limit(settings),
    )
    print(f"{count} masks in {settings.save_masks}")


if __name__ == "__main__":
    cli.run(main)
