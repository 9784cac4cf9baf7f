"""From an evaluation to what its report shows."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advseg import flags
from tf_advseg.data.classes import Classes
from tf_advseg.data.files import LabeledFiles
from tf_advseg.evaluation.evaluator import Scores
from tf_advseg.evaluation.masks import Evaluated
from tf_advseg.evaluation.protocols import Predict, Protocol
from tf_advseg.evaluation.selection import Histogram
from tf_advseg.evaluation.subject import Subject
from tf_advseg.options import EvaluateConfig
from tf_advseg.report import choice, figures
from tf_advseg.report.content import (
    ClassScore,
    Confusion,
    Fact,
    ImageGroup,
    Measure,
    Reliability,
    Report,
    Score,
    ShownImage,
)
from tf_advseg.report.curves import read_curves

_TENSORBOARD = "tensorboard"
_UNKNOWN = "unknown"
_DISCRIMINATOR, _PROBABILITY = "the discriminator's confidence", "the largest probability"

#: Flags of the command that change what is measured.
_SETTINGS = (
    "saved_model", "checkpoint", "split", "eval_protocol", "eval_size", "void_as_background",
    "scales", "flip", "sliding_window",
)  # fmt: skip
#: Those that an export has fixed.
_OF_A_CHECKPOINT = {"checkpoint", "scales", "flip", "sliding_window"}
#: Flags of the run that tell it from others.
_TRAINING = (
    "preset", "labeled_fraction", "backbone", "head", "output_stride", "weights", "batch_size",
    "crop_size", "input_scale", "learning_rate", "discriminator_learning_rate", "lambda_adv",
    "lambda_adv_unlabeled", "lambda_semi", "t_semi", "t_probability", "selection", "semi_start",
    "ema_decay", "discriminator_channels", "discriminator_strides", "discriminator_sees_image",
    "truth_peak", "label_smoothing", "lambda_confidence", "precision",
)  # fmt: skip

_MOST_CONFUSIONS, _LEAST_SHARE = 6, 0.01


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation that is done.

    Attributes:
      run_dir: the run's folder.
      settings: the flags.
      subject: what was evaluated.
      predict: its prediction as the protocol has it.
      files: the images and labels.
      protocol: what of an image is seen.
      evaluated: what was counted.
      values: of its results.json.
    """

    run_dir: Path
    settings: EvaluateConfig
    subject: Subject
    predict: Predict
    files: LabeledFiles
    protocol: Protocol
    evaluated: Evaluated
    values: dict[str, Any]


def gather(evaluation: Evaluation) -> Report:
    """Returns what the report of an evaluation shows; the images in it are predicted once more.

    Raises:
      InputError: the run's event files cannot be read.
    """
    subject, protocol = evaluation.subject, evaluation.protocol
    scores, image_mean_ious = evaluation.evaluated
    classes = class_scores(scores, subject.classes)
    curves = read_curves(evaluation.run_dir / _TENSORBOARD)
    return Report(
        title=_title(evaluation),
        measures=_measures(evaluation.values, selects=subject.selects),
        facts=_facts(evaluation),
        settings=_settings(evaluation),
        training=tuple(_flag(name, subject.settings.get(name)) for name in _TRAINING),
        warning=_warning(protocol),
        classes=classes,
        confusion=row_shares(scores.confusion),
        confusions=largest_confusions(scores.confusion, subject.classes.names),
        images=_images(evaluation),
        images_without_class=sum(map(math.isnan, image_mean_ious)),
        confidence_name=_DISCRIMINATOR if subject.selects else _PROBABILITY,
        reliability=_reliability(scores, selects=subject.selects),
        curves=curves,
        missing_curves=None if curves else _missing_curves(evaluation.run_dir),
    )


def _title(evaluation: Evaluation) -> str:
    subject = evaluation.subject
    model = "exported" if subject.step is None else f"step {subject.step}"
    return f"{subject.classes.name}, {_split(evaluation)}: {subject.settings['method']}, {model}"


def _measures(values: dict[str, Any], *, selects: bool) -> tuple[Measure, ...]:
    named = {
        "mean IoU": "mean_iou",
        "pixel accuracy": "pixel_accuracy",
        "best mean IoU in training": "best_mean_iou",
    }
    if selects:
        named |= {
            "pixels above T_semi": "selected_fraction",
            "right of those": "selected_accuracy",
        }
    return tuple(Measure(name, _known(values[key])) for name, key in named.items())


def _known(value: float | None) -> float | None:
    """Returns a number; None for NaN, as in a results.json."""
    return None if value is None or math.isnan(value) else value


def _facts(evaluation: Evaluation) -> tuple[Fact, ...]:
    values = evaluation.values
    shown = {
        "data set": values["dataset"],
        "split": f"{_split(evaluation)}, {evaluation.evaluated.scores.images} images",
        "protocol": values["protocol"],
        "run": evaluation.run_dir.resolve().name,
        "model": _model(evaluation),
        "method": values["method"],
        "seed": values["seed"],
        "labeled images": values["labeled_images"],
        "unlabeled images": values["unlabeled_images"],
    }
    return tuple(
        Fact(name, _UNKNOWN if value is None else str(value)) for name, value in shown.items()
    )


def _model(evaluation: Evaluation) -> str:
    steps = evaluation.subject.settings["steps"]
    if evaluation.subject.step is None:
        taken = evaluation.values["steps"]
        if taken is None:  # A run that is not finished has no results.json yet.
            return f"an export of the run of {steps} steps, which is not finished"
        return f"an export of the run, which took {taken} of {steps} steps"
    return f"the checkpoint of step {evaluation.subject.step}, of {steps}"


def _split(evaluation: Evaluation) -> str:
    return evaluation.settings.split or evaluation.subject.settings["val_split"]


def _settings(evaluation: Evaluation) -> tuple[Fact, ...]:
    """Returns the flags of the command as they were resolved."""
    given, protocol = evaluation.settings, evaluation.protocol
    resolved = {
        **dataclasses.asdict(given),
        "checkpoint": given.checkpoint or evaluation.subject.settings["eval_checkpoint"],
        "split": _split(evaluation),
        "eval_protocol": protocol.name,
        "eval_size": protocol.size,
        "void_as_background": protocol.void_class is not None,
    }
    fixed = _OF_A_CHECKPOINT if given.saved_model else set()
    return tuple(
        _flag(name, resolved[name])
        for name in _SETTINGS
        if resolved[name] is not None and name not in fixed
    )


def _flag(name: str, value: Any) -> Fact:
    return Fact(f"--{name}", _UNKNOWN if value is None else flags.to_text(value))


def _warning(protocol: Protocol) -> str | None:
    if not protocol.is_unusual:
        return None
    return f"Measured on {protocol.describe()}: compare with numbers of that kind only."


def _missing_curves(run_dir: Path) -> str:
    if not (run_dir / _TENSORBOARD).is_dir():
        return f"The run's folder has no folder {_TENSORBOARD}, which holds the curves."
    return f"The run's folder {_TENSORBOARD} holds no curve."


def class_scores(scores: Scores, classes: Classes) -> tuple[ClassScore, ...]:
    """Returns the score of each class, by class id."""
    ious = scores.per_class_iou(classes.names).items()
    return tuple(
        ClassScore(number, name, classes.colors[number], iou, float(share))
        for number, ((name, iou), share) in enumerate(zip(ious, scores.class_shares, strict=True))
    )


def row_shares(confusion: np.ndarray) -> tuple[tuple[float, ...] | None, ...]:
    """Returns each row of a confusion matrix [C, C] divided by its sum; None for an empty row."""
    return tuple(tuple((row / row.sum()).tolist()) if row.any() else None for row in confusion)


def largest_confusions(confusion: np.ndarray, names: tuple[str, ...]) -> tuple[Confusion, ...]:
    """Returns which classes are most taken for which others, by the share of their pixels.

    Args:
      confusion: [C, C], rows true and columns predicted.
      names: of the classes.
    """
    found = [
        Confusion(names[true], names[predicted], share)
        for true, row in enumerate(row_shares(confusion))
        for predicted, share in enumerate(row or ())
        if true != predicted and share >= _LEAST_SHARE
    ]
    return tuple(sorted(found, key=lambda item: -item.share)[:_MOST_CONFUSIONS])


def _reliability(scores: Scores, *, selects: bool) -> Reliability:
    confidence = _score(_DISCRIMINATOR, scores.confidence) if selects else None
    return Reliability(confidence, _score(_PROBABILITY, scores.probability), scores.t_semi)


def _score(name: str, histogram: Histogram) -> Score:
    return Score(name, tuple(histogram.selections()), _known(histogram.auc))


def _images(evaluation: Evaluation) -> tuple[ImageGroup, ...]:
    """Returns the best, median and worst images, without empty groups."""
    chosen = choice.choose(evaluation.evaluated.image_mean_ious)
    positions = [position for kind in chosen for position in kind]
    if not positions:
        return ()
    pairs = evaluation.protocol.images_at(evaluation.files, positions)
    # In one pass over all of them, one image at a time.
    shown = (_image(evaluation, *found) for found in zip(positions, pairs, strict=True))
    titles = ("Best", "Median", "Worst")
    groups = [
        ImageGroup(title, tuple(itertools.islice(shown, len(kind))))
        for title, kind in zip(titles, chosen, strict=True)
    ]
    return tuple(group for group in groups if group.images)


def _image(evaluation: Evaluation, position: int, pair: tuple[tf.Tensor, tf.Tensor]) -> ShownImage:
    """Predicts an image, given with its label, once more; returns it with its pictures."""
    prediction = evaluation.predict(pair[0][tf.newaxis])
    maps = (*pair, prediction.class_ids[0], prediction.confidence[0])
    return ShownImage(
        evaluation.files.ids[position],
        evaluation.evaluated.image_mean_ious[position],
        figures.strip(*(m.numpy() for m in maps), evaluation.subject.classes.colors),
    )
