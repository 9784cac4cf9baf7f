"""What TensorBoard shows of a run as it goes on: RUN_DIR/tensorboard/{train,validation}.

What both runs have carries the same tag, so that TensorBoard draws it into one chart.
`run_card` writes what is known before the first step, and how the run ended.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_advseg import disk
from tf_advseg.evaluation.evaluator import Scores
from tf_advseg.training import event_files, unwritable
from tf_advseg.training.callbacks import EveryStep, Logs
from tf_advseg.training.objective import CONFIDENCES
from tf_advseg.training.precision import loss_scale
from tf_advseg.training.stopwatch import Stopwatch
from tf_advseg.training.tracked import SKIPPED
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.window import Window

#: The runs that TensorBoard finds in the folder.
TRAIN, VALIDATION = "train", "validation"

#: Tags that others look for.
MEAN_IOU, BEST, PIXEL_ACCURACY = (
    f"validation/{name}" for name in ("mean_iou", "best_mean_iou", "pixel_accuracy")
)
CROSS_ENTROPY = "loss/cross_entropy"
#: Of the unlabeled pixels, those that L_semi uses, whatever selects them.
SELECTED_FRACTION = "semi_supervised/selected_fraction"
#: Of the validation pixels, those whose confidence is above T_semi; and of these, the right ones.
ABOVE_T_SEMI, RIGHT_ABOVE_T_SEMI = (
    f"discriminator/selected_{name}" for name in ("fraction", "accuracy")
)
CONFIDENCE_AUC, PROBABILITY_AUC = (
    f"validation/{name}" for name in ("confidence_auc", "probability_auc")
)
THROUGHPUT = "throughput/images_per_second"
_STRIP = "strip"  # Of pictures: a group of its own, since an image id may be any name.

_LEAST_ROOM = 2**24  # Bytes; the strips of a validation are a few MiB.

#: Where a tracked value is shown, if not as "loss/NAME".
_TAGS = {
    "loss": "loss/total",
    "discriminator": "discriminator/loss",
    "correctness": "discriminator/correctness",
    "selected_fraction": SELECTED_FRACTION,
    **{name: f"discriminator/{name}" for name in CONFIDENCES},
    **{name: f"loss_scale/{name}" for name in SKIPPED},  # As a share of the window's steps.
}


def train_tags(trainer: AdversarialTrainer) -> list[str]:
    """Returns the scalars that a run of this trainer writes in training."""
    tracked = [_tag(metric.name) for metric in trainer.metrics]
    return [*tracked, *_rates(trainer), THROUGHPUT]


def validation_tags(names: Iterable[str], *, selects: bool) -> list[str]:
    """Returns the scalars that a validation writes, if every class occurs in it.

    Args:
      names: of the classes.
      selects: whether confidence is a discriminator's.
    """
    of_confidence = (ABOVE_T_SEMI, RIGHT_ABOVE_T_SEMI, CONFIDENCE_AUC, PROBABILITY_AUC)
    selection = of_confidence if selects else ()
    scores = [CROSS_ENTROPY, MEAN_IOU, BEST, PIXEL_ACCURACY]
    return [*scores, *(_iou_tag(name) for name in names), *selection]


class TrainSummaries(EveryStep):
    """Writes the losses' means over each window of steps, learning rates and throughput.

    Args:
      folder: of the event files; None to write none.
      every: steps in a window.
      images_per_step: labeled and unlabeled together.
      stopwatch: of the time spent training.
      window: of the trainer's trackers.
    """

    def __init__(
        self,
        folder: Path | None,
        every: int,
        images_per_step: int,
        stopwatch: Stopwatch,
        window: Window,
    ):
        super().__init__()
        self._folder = folder and folder / TRAIN
        self._writer = writer(folder, TRAIN)
        self._every, self._images_per_step = every, images_per_step
        self._stopwatch, self._window_start = stopwatch, 0.0
        self._window = window
        self._begun: list[np.ndarray] | None = None

    def write_text(self, title: str, text: str, step: int) -> None:
        """Shows a text in Markdown on the page of texts, beside those of earlier steps."""
        with _written(self._writer, self._folder, step):
            tf.summary.text(title, text)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._begun = self._window.values()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self._begun is not None:
            # Keras has just reset all metrics, but a resumed run is in the middle of a window.
            self._window.assign(self._begun)
            self._begun = None

    def on_step(self, step: int, logs: Logs) -> None:
        if step % self._every:
            return
        with _written(self._writer, self._folder, step):
            for name, value in logs.items():
                tf.summary.scalar(_tag(name), value)
            for tag, rate in _rates(self.model).items():
                tf.summary.scalar(tag, rate)
            self._write_throughput()
        self._window.close(logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._writer.close()

    def _write_throughput(self) -> None:
        seconds = self._stopwatch.seconds - self._window_start
        # The first window after a start holds the tracing of the graph, and is left out.
        if self._window_start and seconds:
            tf.summary.scalar(THROUGHPUT, self._every * self._images_per_step / seconds)
        self._window_start = self._stopwatch.seconds


class ValidationSummaries:
    """Writes what a validation measured, and strips of pictures.

    Args:
      folder: of the event files; None to write none.
      names: of the classes.
      selects: whether confidence is a discriminator's.
    """

    def __init__(self, folder: Path | None, names: Sequence[str], *, selects: bool):
        self._folder = folder and folder / VALIDATION
        self._writer = writer(folder, VALIDATION)
        self._names, self._selects = names, selects

    def write(
        self, step: int, scores: Scores, best: float | None, strips: Mapping[str, np.ndarray]
    ) -> None:
        """Writes one validation.

        Args:
          step: at which.
          scores: what it measured.
          best: the highest mean IoU so far; None if there is none.
          strips: {image id: picture uint8 [H, W, 3]}.
        """
        with _written(self._writer, self._folder, step):
            tf.summary.scalar(CROSS_ENTROPY, scores.cross_entropy)
            tf.summary.scalar(MEAN_IOU, scores.mean_iou)
            tf.summary.scalar(PIXEL_ACCURACY, scores.pixel_accuracy)
            if best is not None:
                tf.summary.scalar(BEST, best)
            for name, iou in scores.per_class_iou(self._names).items():
                if iou is not None:
                    tf.summary.scalar(_iou_tag(name), iou)
            if self._selects:
                tf.summary.scalar(ABOVE_T_SEMI, scores.selected_fraction)
                if scores.selected:
                    tf.summary.scalar(RIGHT_ABOVE_T_SEMI, scores.selected_accuracy)
                areas = {
                    CONFIDENCE_AUC: scores.confidence.auc,
                    PROBABILITY_AUC: scores.probability.auc,
                }
                for tag, area in areas.items():
                    if not math.isnan(area):  # As where every pixel is right.
                        tf.summary.scalar(tag, area)
            for image_id, strip in strips.items():
                tf.summary.image(f"{_STRIP}/{image_id}", strip[np.newaxis])


def writer(
    folder: Path | None, name: str = "", suffix: str | None = None
) -> tf.summary.SummaryWriter:
    """Returns a writer of event files to a folder in `folder`; of none, if that is None.

    Args:
      folder: of the run's event files.
      name: of the run in TensorBoard.
      suffix: the end of the file's name; None for TensorFlow's own.
    """
    if folder is None:
        return tf.summary.create_noop_writer()
    return tf.summary.create_file_writer(str(folder / name), filename_suffix=suffix)


@contextlib.contextmanager
def _written(writer: tf.summary.SummaryWriter, folder: Path | None, step: int) -> Iterator[None]:
    """Writes the summaries made inside, so that they survive a power loss as checkpoints do.

    Raises:
      InputError: there is no room for them.
    """
    with unwritable.naming(f"the curves in {folder}"):
        with writer.as_default(step=step):
            yield
        if folder is None:
            return
        # TensorFlow does not always tell of an event that it could write a part of.
        disk.require_room(folder, _LEAST_ROOM, "the curves")
        for path in event_files.paths(folder):
            disk.sync(path)


def _tag(name: str) -> str:
    return _TAGS.get(name, f"loss/{name}")


def _iou_tag(name: str) -> str:
    return f"iou/{name}"


def _rates(trainer: AdversarialTrainer) -> dict[str, tf.Tensor]:
    """Returns learning rates and loss scales as they are now, by tag."""
    optimizers = {"segmenter": trainer.optimizer}
    if trainer.discriminator is not None:
        optimizers["discriminator"] = trainer.discriminator_optimizer
    rates = {}
    for name, optimizer in optimizers.items():
        rates[f"learning_rate/{name}"] = _learning_rate(optimizer)
        if (scale := loss_scale(optimizer)) is not None:
            rates[f"loss_scale/{name}"] = scale
    return rates


def _learning_rate(optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
    return tf.convert_to_tensor(optimizer.learning_rate)
