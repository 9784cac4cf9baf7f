"""What TensorBoard shows of a run beside its curves and pictures: RUN_DIR/tensorboard.

A page of charts (its plugin custom_scalar), the run's settings and how it ended (hparams), and a
text with the command.
"""

import contextlib
import dataclasses
import re
import shlex
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams

from tf_advseg import flags
from tf_advseg.errors import InputError
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import tensorboard, unwritable
from tf_advseg.training.tensorboard import BEST, MEAN_IOU, PIXEL_ACCURACY

#: The end of the event file's name, by which a resumed run finds and replaces it.
_SUFFIX = ".session"

#: Category -> chart -> the tags in it, as regular expressions that match from their beginning. They
#: name no class and no method, so that the pages of several runs become one.
_CHARTS = {
    "losses": {
        "cross-entropy": ("loss/cross_entropy",),
        "total": ("loss/total",),
        "adversarial": ("loss/adversarial_.*",),
        "semi-supervised": ("loss/semi_supervised",),
        "unlabeled pixels in it: fraction": ("semi_supervised/selected_fraction",),
    },
    "discriminator": {
        "loss": ("discriminator/loss",),
        "correctness": ("discriminator/correctness",),
        "confidence in true labels and in predictions": ("discriminator/confidence_.*",),
        "validation pixels above T_semi: fraction": ("discriminator/selected_fraction",),
        "validation pixels above T_semi: accuracy": ("discriminator/selected_accuracy",),
    },
    "scores on validation images": {
        "mean IoU": ("validation/mean_iou", "validation/best_mean_iou"),
        "pixel accuracy": ("validation/pixel_accuracy",),
        "area under ROC, right pixels against wrong": ("validation/.*_auc",),
        "IoU by class": ("iou/.*",),
    },
    "optimizers": {
        # Not in one chart: one may be a thousand times the other.
        "learning rate of the segmenter": ("learning_rate/segmenter",),
        "learning rate of the discriminator": ("learning_rate/discriminator",),
        "loss scales": ("loss_scale/(segmenter|discriminator)",),
        "share of steps that loss scaling skips": ("loss_scale/skipped_.*",),
        "images per second": ("throughput/.*",),
    },
}

#: Settings that say where something is on this machine, or how it works, and not what the run is.
_NO_HPARAMS = ("data_dir", "run_dir", "data_service", "resume", "profile")
#: Of these the file's name is shown, without its folder.
_FILES = ("weights", "labeled_list")
#: TensorBoard shows five columns unless told otherwise: these differ in a table of runs.
_FIRST_HPARAMS = ("method", "labeled_fraction", "seed", "backbone", "learning_rate")
_TYPES = {
    bool: api_pb2.DATA_TYPE_BOOL,
    int: api_pb2.DATA_TYPE_FLOAT64,
    float: api_pb2.DATA_TYPE_FLOAT64,
}
_LINE_LENGTH = 70  # Letters of a command after which the next flag is in another line.
_METRICS = {MEAN_IOU: "mean IoU", BEST: "best mean IoU", PIXEL_ACCURACY: "pixel accuracy"}


@contextlib.contextmanager
def recorded(folder: Path | None, config: TrainConfig, tags: Iterable[str]) -> Iterator[None]:
    """Shows what happens inside as one session: with its settings, and at last how it ended.

    A resumed run goes on with its session, and does not add another one.

    Args:
      folder: of the run's event files; None to write none.
      config: of the run.
      tags: of the scalars that it writes.
    """
    if folder is not None:
        # TensorBoard would stay with the first end that it reads.
        for earlier in folder.glob(f"*{_SUFFIX}"):
            earlier.unlink()
    writer = tensorboard.writer(folder, suffix=_SUFFIX)
    _write(
        writer,
        custom_scalar.pb(layout(tags)),
        hparams.experiment_pb(_hparam_infos(), _metric_infos()),
        # Named after the folder, not by its settings: two runs with the same are two rows.
        hparams.session_start_pb(hparam_values(config)),
    )
    try:
        yield
    except BaseException:
        with contextlib.suppress(InputError):  # The first failure is the one to tell.
            _end(writer, api_pb2.STATUS_FAILURE)
        raise
    _end(writer, api_pb2.STATUS_SUCCESS)


def layout(tags: Iterable[str]) -> layout_pb2.Layout:
    """Returns the page of charts for a run that writes these scalars."""
    tags = list(tags)
    categories = []
    for category, charts in _CHARTS.items():
        shown = [
            layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=patterns))
            for title, patterns in charts.items()
            if any(re.match(pattern, tag) for pattern in patterns for tag in tags)
        ]
        if shown:
            categories.append(layout_pb2.Category(title=category, chart=shown))
    return layout_pb2.Layout(category=categories)


def hparam_values(config: TrainConfig) -> dict[str, bool | int | float | str]:
    """Returns a run's settings as TensorBoard compares them: without paths, and none that is None.

    Tuples are text, as in the flags.
    """
    values = {name: _hparam_value(name, getattr(config, name)) for name in _hparam_names()}
    return {name: value for name, value in values.items() if value is not None}


def text(command: str, config: TrainConfig, first_step: int) -> str:
    """Returns what the run's text says, in Markdown.

    Args:
      command: that began or resumed the run; may be empty.
      config: of the run.
      first_step: the step at which that was.
    """
    began = f"resumed at step {first_step}" if first_step else "begun"
    shown = textwrap.indent(_in_lines(command), "    ")
    return "\n\n".join(filter(None, (began, shown, flags.to_markdown(config))))


def _in_lines(command: str) -> str:
    """Breaks a long command into lines, so that it can still be given to a shell."""
    lines: list[list[str]] = [[]]
    for word in map(shlex.quote, shlex.split(command)):
        if word.startswith("--") and len(" ".join(lines[-1])) > _LINE_LENGTH:
            lines.append([])
        lines[-1].append(word)
    return " \\\n  ".join(" ".join(line) for line in lines)


def _write(writer: tf.summary.SummaryWriter, *summaries: Any) -> None:
    with unwritable.naming("to the run's tensorboard folder"), writer.as_default(step=0):
        for summary in summaries:
            tf.summary.experimental.write_raw_pb(summary.SerializeToString())


def _end(writer: tf.summary.SummaryWriter, status: int) -> None:
    _write(writer, hparams.session_end_pb(status))
    writer.close()


def _hparam_names() -> list[str]:
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    return [name for name in names if name not in _NO_HPARAMS]


def _hparam_value(name: str, value: Any) -> Any:
    if value is not None and name in _FILES:
        return Path(value).name
    return flags.to_text(value) if isinstance(value, tuple) else value


def _hparam_infos() -> list[api_pb2.HParamInfo]:
    annotations = typing.get_type_hints(TrainConfig)
    return [_hparam_info(name, annotations[name]) for name in _hparam_names()]


def _hparam_info(name: str, annotation: Any) -> api_pb2.HParamInfo:
    if isinstance(annotation, types.UnionType):
        (annotation,) = set(typing.get_args(annotation)) - {types.NoneType}
    info = api_pb2.HParamInfo(name=name, type=_TYPES.get(annotation, api_pb2.DATA_TYPE_STRING))
    # TensorBoard lists by name, but first what it is told to differ.
    info.differs = name in _FIRST_HPARAMS
    if annotation is bool:
        info.domain_discrete.extend([False, True])
    return info


def _metric_infos() -> list[api_pb2.MetricInfo]:
    return [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(group=tensorboard.VALIDATION, tag=tag),
            display_name=title,
            dataset_type=api_pb2.DATASET_VALIDATION,
        )
        for tag, title in _METRICS.items()
    ]
