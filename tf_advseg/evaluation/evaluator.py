"""Evaluation of a predictor over a split."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from tf_advseg.evaluation import metrics, selection
from tf_advseg.evaluation.inference import Prediction


@dataclasses.dataclass(frozen=True)
class Scores:
    """Counts over all pixels of a split, and what follows from them.

    Attributes:
      confusion: int64 [C, C], rows true and columns predicted.
      confidence: the pixels with a class, by confidence.
      probability: the same, by the largest probability.
      t_semi: the confidence above which a pixel counts as selected; a threshold of `confidence`.
      images: number of images.
    """

    confusion: np.ndarray
    confidence: selection.Histogram
    probability: selection.Histogram
    t_semi: float
    images: int

    @property
    def mean_iou(self) -> float:
        return metrics.mean_iou(self.confusion)

    @property
    def pixel_accuracy(self) -> float:
        return metrics.pixel_accuracy(self.confusion)

    @property
    def selected(self) -> int:
        """Pixels with a class whose confidence is above `t_semi`."""
        return self.confidence.above(self.t_semi).pixels

    @property
    def selected_right(self) -> int:
        """Those of the selected pixels whose predicted class is right."""
        return self.confidence.above(self.t_semi).right

    @property
    def selected_fraction(self) -> float:
        """Share of the pixels with a class that is selected, in 0-1; NaN without such pixels."""
        return self.confidence.above(self.t_semi).fraction

    @property
    def selected_accuracy(self) -> float:
        """Share of the selected pixels that is right, in 0-1; NaN if none is selected."""
        return self.confidence.above(self.t_semi).accuracy

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
    thresholds = selection.thresholds_with(t_semi)
    totals = (
        tf.zeros([num_classes, num_classes], tf.int64),
        selection.no_counts(thresholds),
        selection.no_counts(thresholds),
    )
    count = 0
    for image, label in images:
        prediction = predict(image[tf.newaxis])
        counts = _counts(label, prediction, thresholds, num_classes)
        totals = tuple(total + new for total, new in zip(totals, counts, strict=True))
        count += 1
        if on_image is not None:
            on_image(image, label, prediction)
        del prediction  # Its maps are large, and the next image's are about to be made.
    confusion, by_confidence, by_probability = (total.numpy() for total in totals)
    return Scores(
        confusion,
        selection.Histogram(thresholds, by_confidence),
        selection.Histogram(thresholds, by_probability),
        t_semi,
        count,
    )


@tf.function(reduce_retracing=True)
def _counts(
    label: tf.Tensor, prediction: Prediction, thresholds: tuple[float, ...], num_classes: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns an image's part of the confusion matrix and of both histograms, all int64."""
    class_ids = prediction.class_ids[0]
    largest = tf.reduce_max(prediction.probabilities[0], axis=-1)
    return (
        metrics.confusion_matrix(label, class_ids, num_classes),
        selection.count(prediction.confidence[0], label, class_ids, thresholds),
        selection.count(largest, label, class_ids, thresholds),
    )
