"""How well a confidence tells right pixels from wrong, counted over any number of pixels.

Pixels are counted in cells by their confidence, right and wrong ones apart, so that memory does not
grow with their number. What a threshold selects (T_semi, section 3.3) and the area under the ROC
curve follow from the counts.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_advseg.data import VOID_LABEL
from tf_advseg.evaluation.metrics import count_cells

#: Thresholds of the selection table; the paper's own has 0, 0.1, 0.2 and 0.3.
TABLE = tuple(tenths / 10 for tenths in range(10))

# A float32 is a sign, 8 bits of exponent and 23 of mantissa, and numbers from 0 up are in the order
# of their bits. A cell holds those that agree in the exponent and in the first bits of the
# mantissa.
_MANTISSA_BITS, _KEPT_BITS = 23, 7
# Cells from 0 to 0.5, whose biased exponent is 126; there are as many from 0.5 to 1.
_HALF = 126 << _KEPT_BITS


@dataclasses.dataclass(frozen=True)
class Selection:
    """The pixels with a class whose confidence is above a threshold.

    Attributes:
      threshold: in 0-1.
      pixels: how many are above it.
      right: how many of those have the right class.
      total: pixels with a class, above it or not.
    """

    threshold: float
    pixels: int
    right: int
    total: int

    @property
    def fraction(self) -> float:
        """Share of the pixels with a class that is selected, in 0-1; NaN without such pixels."""
        return self.pixels / self.total if self.total else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of the selected pixels that is right, in 0-1; NaN if none is selected."""
        return self.right / self.pixels if self.pixels else float("nan")


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Pixels with a class, by the confidence in their prediction.

    A cell is no wider than 1/128 of the confidences in it, or from 0.5 on of their distance to 1.
    So what crowds near 0 or 1 is told apart as far as float32 can. Each threshold parts its cell in
    two, so that counts above it are exact.

    Attributes:
      thresholds: ascending, in 0-1.
      counts: int64 [2, cells]: wrong and right pixels, from low to high confidence.
    """

    thresholds: tuple[float, ...]
    counts: np.ndarray

    def above(self, threshold: float) -> Selection:
        """Returns the pixels with confidence > threshold, compared as float32, as the losses do.

        Raises:
          ValueError: it is none of `thresholds`.
        """
        if threshold not in self.thresholds:
            raise ValueError(f"counted for the thresholds {self.thresholds}, not {threshold}")
        [own] = _cells(tf.constant([threshold], tf.float32), self.thresholds).numpy()
        wrong, right = self.counts[:, own + 1 :].sum(axis=1).tolist()
        return Selection(threshold, wrong + right, right, int(self.counts.sum()))

    def selections(self) -> list[Selection]:
        """Returns what is above each threshold."""
        return [self.above(threshold) for threshold in self.thresholds]

    @property
    def auc(self) -> float:
        """The area under the ROC curve, with right pixels as positives, in 0-1.

        It is the chance that a right pixel has a higher confidence than a wrong one, each drawn at
        random, with ties as half. 0.5 is a confidence that says nothing; NaN, that all pixels are
        right or all are wrong. Pixels of one cell are taken for ties, so that the area is off by at
        most `auc_error`.
        """
        wrong, right = self._shares()
        below = np.cumsum(wrong) - wrong
        return float(np.sum(right * (below + wrong / 2)))

    @property
    def auc_error(self) -> float:
        """How far `auc` can be off: half the chance that a right and a wrong pixel share a cell.

        That is at most half the largest share of the right pixels, or of the wrong, in one cell.
        """
        wrong, right = self._shares()
        return float(np.sum(right * wrong) / 2)

    def _shares(self) -> np.ndarray:
        """Returns float64 [2, cells]: the share of the wrong pixels, and of the right, in a cell.

        Each kind adds up to 1; all are NaN where there is no pixel of that kind.
        """
        totals = self.counts.sum(axis=1, keepdims=True).astype(np.float64)
        return self.counts / np.where(totals, totals, np.nan)


def thresholds_with(t_semi: float) -> tuple[float, ...]:
    """Returns the thresholds of the table and `t_semi`, ascending."""
    return tuple(sorted({*TABLE, t_semi}))


def no_counts(thresholds: Sequence[float]) -> tf.Tensor:
    """Returns the counts before the first pixel, int64 [2, cells]."""
    return tf.zeros([2, _num_cells(len(thresholds))], tf.int64)


def count(
    confidence: tf.Tensor, label: tf.Tensor, class_ids: tf.Tensor, thresholds: Sequence[float]
) -> tf.Tensor:
    """Counts pixels for a `Histogram`.

    Args:
      confidence: float32 of any shape, in 0-1; NaN, which is above nothing, counts as 0.
      label: integers of the same shape; VOID_LABEL pixels are not counted.
      class_ids: the predicted classes, integers of the same shape.
      thresholds: ascending, in 0-1.

    Returns:
      int64 [2, cells].
    """
    label, class_ids = tf.cast(label, tf.int64), tf.cast(class_ids, tf.int64)
    size = _num_cells(len(thresholds))
    cells = tf.cast(class_ids == label, tf.int64) * size + _cells(confidence, thresholds)
    # Void pixels go to a cell behind the others: cheaper than picking them out.
    cells = tf.where(label == VOID_LABEL, tf.constant(2 * size, tf.int64), cells)
    return tf.reshape(count_cells(cells, 2 * size + 1)[:-1], [2, size])


def _num_cells(thresholds: int) -> int:
    return 2 * _HALF + 1 + thresholds


def _cells(confidence: tf.Tensor, thresholds: Sequence[float]) -> tf.Tensor:
    """Returns the cell of each confidence, int64: never a lower one for a higher confidence."""
    value = tf.minimum(tf.where(confidence > 0, confidence, 0.0), 1.0)
    nearest = tf.minimum(value, 1 - value)  # To 0 or 1; exact, as 1 - value is from 0.5 on.
    bits = tf.bitcast(nearest, tf.int32)
    cell = tf.cast(tf.bitwise.right_shift(bits, _MANTISSA_BITS - _KEPT_BITS), tf.int64)
    cell = tf.where(value > 0.5, 2 * _HALF - cell, cell)
    # One cell further for each threshold below, so that a threshold's own cell ends with it.
    ascending = tf.constant(thresholds, tf.float32)
    below = tf.searchsorted(ascending, tf.reshape(value, [-1]), out_type=tf.int64)
    return cell + tf.reshape(below, tf.shape(value))
