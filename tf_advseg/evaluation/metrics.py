"""Metrics from one confusion matrix over all pixels of a split.

Mean IoU is defined once, here: over the whole split and not averaged over images; void pixels left
out; the mean over the classes that occur in truth or prediction. A class that occurs in neither has
no IoU: it is NaN here and null in JSON, not 0 or 1.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_advseg.data import VOID_LABEL


def confusion_matrix(labels: tf.Tensor, class_ids: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Counts pixels by true and predicted class.

    Args:
      labels: integers, any shape; VOID_LABEL pixels are not counted.
      class_ids: integers of the same shape, in 0 to num_classes - 1.
      num_classes: number of classes, C.

    Returns:
      int64 [C, C]: rows are true classes, columns predicted ones.
    """
    labels, class_ids = tf.cast(labels, tf.int64), tf.cast(class_ids, tf.int64)
    cells = labels * num_classes + class_ids
    # Void pixels go to a cell behind the matrix: cheaper than picking the others out.
    cells = tf.where(labels == VOID_LABEL, tf.constant(num_classes**2, tf.int64), cells)
    counts = count_cells(cells, num_classes**2 + 1)
    return tf.reshape(counts[:-1], [num_classes, num_classes])


def count_cells(cells: tf.Tensor, size: int) -> tf.Tensor:
    """Counts how often each number from 0 to size - 1 occurs.

    Args:
      cells: int64, from 0 on, any shape, fewer than 2^31 of them; those from `size` on are not
        counted.
      size: how many numbers there are.

    Returns:
      int64 [size].
    """
    # Nothing here makes a GPU wait: `tf.math.bincount` sends the largest number to the host, and
    # TensorFlow does arithmetic of int32 on the host altogether.
    counts = tf.raw_ops.DenseBincount(
        input=tf.reshape(cells, [-1]), size=size, weights=tf.constant([], tf.int32)
    )
    return tf.cast(counts, tf.int64)


def per_class_iou(confusion: np.ndarray) -> np.ndarray:
    """Returns intersection over union by class, float64 [C] in 0-1; NaN where a class is absent.

    Args:
      confusion: [C, C], rows true and columns predicted.
    """
    confusion = np.asarray(confusion, np.float64)
    intersection = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - intersection
    return np.divide(intersection, union, out=np.full_like(union, np.nan), where=union > 0)


def mean_iou(confusion: np.ndarray) -> float:
    """Returns the mean IoU in 0-1 over the classes that occur; NaN if no pixel was counted."""
    iou = per_class_iou(confusion)
    return float(iou[~np.isnan(iou)].mean()) if not np.isnan(iou).all() else float("nan")


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Returns the share of counted pixels that are right, in 0-1; NaN if no pixel was counted."""
    total = np.sum(confusion)
    return float(np.trace(confusion) / total) if total else float("nan")


class MeanIoU(keras.metrics.Metric):
    """Mean IoU as a Keras metric, for `compile` and `fit`; the definition is the same.

    `update_state` takes labels [B, H, W] and logits or probabilities [B, H, W, C].
    """

    def __init__(self, num_classes: int, name: str = "mean_iou", **kwargs: Any):
        super().__init__(name=name, dtype="float32", **kwargs)
        self._num_classes = num_classes
        self._confusion = self.add_weight(
            name="confusion", shape=(num_classes, num_classes), initializer="zeros", dtype="int64"
        )

    def update_state(
        self, labels: tf.Tensor, logits: tf.Tensor, sample_weight: None = None
    ) -> None:
        class_ids = tf.argmax(logits, -1, tf.int32)
        self._confusion.assign_add(confusion_matrix(labels, class_ids, self._num_classes))

    def reset_state(self) -> None:
        self._confusion.assign(tf.zeros_like(self._confusion))

    def result(self) -> tf.Tensor:
        confusion = tf.cast(self._confusion, tf.float32)
        intersection = tf.linalg.diag_part(confusion)
        union = tf.reduce_sum(confusion, 0) + tf.reduce_sum(confusion, 1) - intersection
        occurs = union > 0
        return tf.reduce_mean(
            tf.boolean_mask(intersection, occurs) / tf.boolean_mask(union, occurs)
        )
