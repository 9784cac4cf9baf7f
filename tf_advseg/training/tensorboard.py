"""What TensorBoard shows of a run: RUN_DIR/tensorboard/{train,validation}."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_advseg.evaluation.evaluator import Scores
from tf_advseg.training.callbacks import EveryStep, Logs
from tf_advseg.training.precision import loss_scale
from tf_advseg.training.stopwatch import Stopwatch

#: Where a tracked value is shown, if not as "loss/NAME".
_TAGS = {
    "loss": "loss/total",
    "discriminator": "discriminator/loss",
    "selected_fraction": "discriminator/selected_fraction",
}


class TrainSummaries(EveryStep):
    """Writes the losses' means over each window of steps, learning rates and throughput.

    Args:
      folder: of the event files; None to write none.
      every: steps in a window.
      images_per_step: labeled and unlabeled together.
      stopwatch: of the time spent training.

    Attributes:
      latest: the means over the last full window.
    """

    def __init__(self, folder: Path | None, every: int, images_per_step: int, stopwatch: Stopwatch):
        super().__init__()
        self._writer = _writer(folder, "train")
        self._every, self._images_per_step = every, images_per_step
        self._stopwatch, self._window_start = stopwatch, 0.0
        self.latest: Logs = {}

    def write_text(self, title: str, text: str) -> None:
        """Shows a text, such as the configuration, on the page of texts."""
        with self._writer.as_default():
            tf.summary.text(title, text, step=0)

    def on_step(self, step: int, logs: Logs) -> None:
        if step % self._every:
            return
        self.latest = dict(logs)
        with self._writer.as_default(step=step):
            for name, value in logs.items():
                tf.summary.scalar(_TAGS.get(name, f"loss/{name}"), value)
            self._write_rates()
            self._write_throughput()
        self.model.reset_metrics()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._writer.close()

    def _write_rates(self) -> None:
        optimizers = {"segmenter": self.model.optimizer}
        if self.model.discriminator is not None:
            optimizers["discriminator"] = self.model.discriminator_optimizer
        for name, optimizer in optimizers.items():
            tf.summary.scalar(f"learning_rate/{name}", _learning_rate(optimizer))
            if (scale := loss_scale(optimizer)) is not None:
                tf.summary.scalar(f"loss_scale/{name}", scale)

    def _write_throughput(self) -> None:
        seconds = self._stopwatch.seconds - self._window_start
        # The first window after a start holds the tracing of the graph, and is left out.
        if self._window_start and seconds:
            rate = self._every * self._images_per_step / seconds
            tf.summary.scalar("throughput/images_per_second", rate)
        self._window_start = self._stopwatch.seconds


class ValidationSummaries:
    """Writes what a validation measured, and strips of pictures.

    Args:
      folder: of the event files; None to write none.
      names: of the classes.
      selects: whether confidence is a discriminator's.
    """

    def __init__(self, folder: Path | None, names: Sequence[str], *, selects: bool):
        self._writer = _writer(folder, "validation")
        self._names, self._selects = names, selects

    def write(self, step: int, scores: Scores, strips: Sequence[np.ndarray]) -> None:
        """Writes one validation; `strips` are pictures, uint8 [H, W, 3]."""
        with self._writer.as_default(step=step):
            tf.summary.scalar("validation/mean_iou", scores.mean_iou)
            tf.summary.scalar("validation/pixel_accuracy", scores.pixel_accuracy)
            for name, iou in scores.per_class_iou(self._names).items():
                if iou is not None:
                    tf.summary.scalar(f"iou/{name}", iou)
            if self._selects:
                tf.summary.scalar("discriminator/selected_fraction", scores.selected_fraction)
                if scores.selected:
                    tf.summary.scalar("discriminator/selected_accuracy", scores.selected_accuracy)
            for index, strip in enumerate(strips):
                title = f"validation/{index}: input, truth, prediction, confidence"
                tf.summary.image(title, strip[np.newaxis])
        self._writer.flush()


def _writer(folder: Path | None, name: str) -> tf.summary.SummaryWriter:
    if folder is None:
        return tf.summary.create_noop_writer()
    return tf.summary.create_file_writer(str(folder / name))


def _learning_rate(optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
    return tf.convert_to_tensor(optimizer.learning_rate)
