"""Evaluation of a predictor over a split."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from tf_advseg.data import VOID_LABEL
from tf_advseg.evaluation import metrics
from tf_advseg.evaluation.inference import Prediction


@dataclasses.dataclass(frozen=True)
class Scores:
    """Counts over all pixels of a split, and what follows from them.

    Attributes:
      confusion: int64 [C, C], rows true and columns predicted.
      selected: pixels with a class whose confidence is above t_semi.
      selected_right: those of them whose predicted class is right.
      images: number of images.
    """

    confusion: np.ndarray
    selected: int
    selected_right: int
    images: int

    @property
    def mean_iou(self) -> float:
        return metrics.mean_iou(self.confusion)

    @property
    def pixel_accuracy(self) -> float:
        return metrics.pixel_accuracy(self.confusion)

    @property
    def selected_fraction(self) -> float:
        """Share of the pixels with a class that is selected, in 0-1."""
        total = int(self.confusion.sum())
        return self.selected / total if total else float("nan")

    @property
    def selected_accuracy(self) -> float:
        """Share of the selected pixels that is right, in 0-1; NaN if none is selected."""
        return self.selected_right / self.selected if self.selected else float("nan")

    def per_class_iou(self, names: Sequence[str]) -> dict[str, float | None]:
        """Returns IoU by class name, None for a class that occurs nowhere."""
        values = metrics.per_class_iou(self.confusion)
        return {n: None if np.isnan(v) else float(v) for n, v in zip(names, values, strict=True)}


def evaluate(
    predict: Callable[[tf.Tensor], Prediction],
    images: Iterable[tuple[tf.Tensor, tf.Tensor]],
    num_classes: int,
    t_semi: float,
    on_image: Callable[[tf.Tensor, tf.Tensor, Prediction], None] | None = None,
) -> Scores:
    """Predicts every image at its full size and counts.

    Args:
      predict: images [1, H, W, 3] -> Prediction, such as a Predictor.
      images: pairs of image uint8 [H, W, 3] and label uint8 [H, W], as
        `data.pipeline.evaluation_dataset` yields them.
      num_classes: C.
      t_semi: the confidence above which a pixel counts as selected.
      on_image: is given each image, label and prediction.

    Returns:
      the counts over all images.
    """
    confusion = tf.zeros([num_classes, num_classes], tf.int64)
    selections = tf.zeros([2], tf.int64)
    count = 0
    for image, label in images:
        prediction = predict(image[tf.newaxis])
        confusion += _confusion(label, prediction.class_ids[0], num_classes)
        selections += _selections(label, prediction, t_semi)
        count += 1
        if on_image is not None:
            on_image(image, label, prediction)
    selected, selected_right = selections.numpy().tolist()
    return Scores(confusion.numpy(), selected, selected_right, count)


_confusion = tf.function(metrics.confusion_matrix, reduce_retracing=True)


@tf.function(reduce_retracing=True)
def _selections(label: tf.Tensor, prediction: Prediction, t_semi: float) -> tf.Tensor:
    """Returns int64 [2]: how many pixels with a class are selected, and how many of those right."""
    label = tf.cast(label, tf.int32)
    selected = (prediction.confidence[0] > t_semi) & (label != VOID_LABEL)
    right = selected & (prediction.class_ids[0] == label)
    return tf.stack([tf.math.count_nonzero(selected), tf.math.count_nonzero(right)])
