"""The curves of a training, read from what it wrote for TensorBoard."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from tf_advseg.errors import InputError, first_line
from tf_advseg.report.content import CurveChart, Line

_TRAIN, _VALIDATION = "train", "validation"
Points = dict[int, float]


class _Chart(NamedTuple):
    """A chart, and where its curves are: (name, folder of the event files, tag) of each."""

    title: str
    lines: tuple[tuple[str, str, str], ...]
    percent: bool = False
    note: str = ""


_CHARTS = (
    _Chart(
        "Cross-entropy",
        (
            ("training", _TRAIN, "loss/cross_entropy"),
            ("validation", _VALIDATION, "loss/cross_entropy"),
        ),
    ),
    _Chart(
        "Mean IoU",
        (("validation", _VALIDATION, "validation/mean_iou"),),
        percent=True,
        note="Measured at each validation, on the run's own validation list.",
    ),
    _Chart(
        "Discriminator loss",
        (("training", _TRAIN, "discriminator/loss"),),
        note="By the paper's loss 1.39 is of one that knows nothing, 0 of one that knows all.",
    ),
    _Chart(
        "Pixels in L_semi",
        (("training", _TRAIN, "semi_supervised/selected_fraction"),),
        percent=True,
        note="The share of the unlabeled pixels that the run's --selection selects.",
    ),
    _Chart(
        "Pixels above T_semi",
        (("validation", _VALIDATION, "discriminator/selected_fraction"),),
        percent=True,
        note="The share of the pixels that the discriminator is confident enough in.",
    ),
    _Chart(
        "The discriminator's confidence",
        (
            ("true labels", _TRAIN, "discriminator/confidence_true"),
            ("predictions", _TRAIN, "discriminator/confidence_predicted"),
        ),
        percent=True,
        note="Its mean over the pixels. The closer the two, the less it tells them apart.",
    ),
)


def read_curves(folder: Path) -> tuple[CurveChart, ...]:
    """Returns the charts for which there is a curve.

    Args:
      folder: a run's tensorboard folder, which may be missing.

    Raises:
      InputError: an event file cannot be read.
    """
    points = {}
    for name in (_TRAIN, _VALIDATION):
        tags = {tag for chart in _CHARTS for _, where, tag in chart.lines if where == name}
        points[name] = read_scalars(folder / name, tags)
    charts = []
    for chart in _CHARTS:
        lines = tuple(
            Line(name, *zip(*sorted(points[where][tag].items())))
            for name, where, tag in chart.lines
            if tag in points[where]
        )
        if lines:
            charts.append(CurveChart(chart.title, chart.note, chart.percent, lines))
    return tuple(charts)


def read_scalars(folder: Path, tags: Collection[str]) -> dict[str, Points]:
    """Returns {tag: {step: value}} of the event files in a folder, for the tags that occur.

    A run that was resumed has several files. Where a later one begins before an earlier ends, the
    earlier steps were taken again, and are left out.

    Raises:
      InputError: a file cannot be read.
    """
    curves: dict[str, Points] = {}
    # Their names begin with the time at which they were begun.
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for tag, points in _file_scalars(path, tags).items():
            first = min(points)
            before = {s: v for s, v in curves.get(tag, {}).items() if s < first}
            curves[tag] = before | points
    return curves


def _file_scalars(path: Path, tags: Collection[str]) -> dict[str, Points]:
    """Returns the scalars of one file; one that is cut off ends where it is.

    Event by event: TensorBoard's EventAccumulator would hold every picture in memory as well, or
    drop points of the curves with them.
    """
    curves: dict[str, Points] = {}
    try:
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag in tags:
                    number = float(tf.make_ndarray(value.tensor))
                    curves.setdefault(value.tag, {})[event.step] = number
    except (OSError, tf.errors.OpError) as error:
        raise InputError(f"cannot read {path}: {first_line(error)}") from None
    return curves
