"""Counts by confidence against sorted confidences, for any float32 from 0 to 1."""

import math

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tf_advseg.data import VOID_LABEL
from tf_advseg.evaluation import selection
from tf_advseg.evaluation.selection import Histogram, thresholds_with

WRONG, RIGHT, VOID = 0, 1, 2
# Denormal numbers aside, which TensorFlow flushes to 0 and NumPy does not.
confidences = st.one_of(
    st.floats(0, 1, width=32, allow_subnormal=False),
    st.sampled_from([0.0, 1.0, 0.5, 0.1, 0.2, 1 - 2**-24]),
)
pixels = st.lists(st.tuples(confidences, st.sampled_from([WRONG, RIGHT, VOID])), max_size=80)
t_semis = st.floats(0, 1, allow_subnormal=False)


def parts(pixels):
    confidence = np.array([confidence for confidence, _ in pixels], np.float32)
    return confidence, np.array([kind for _, kind in pixels], int)


def counts_of(confidence, kind, thresholds):
    label = tf.constant(np.array([0, 1, VOID_LABEL])[kind], tf.int32)
    return selection.count(confidence, label, tf.ones_like(label), thresholds).numpy()


def sorted_auc(confidence, kind):
    """Area under the ROC curve by ranks, with the mean rank for equal ones; NaN without a pair."""
    counts = kind != VOID
    confidence, right = confidence[counts], kind[counts] == RIGHT
    if right.all() or not right.any():
        return math.nan
    ordered = np.sort(confidence)
    below, upto = (np.searchsorted(ordered, confidence, side) for side in ("left", "right"))
    ranks = (below + 1 + upto) / 2
    positives = int(right.sum())
    above = ranks[right].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(right) - positives)))


@given(pixels, t_semis)
def test_selection_is_what_lies_above_in_sorted_order(pixels, t_semi):
    confidence, kind = parts(pixels)
    thresholds = thresholds_with(t_semi)
    histogram = Histogram(thresholds, counts_of(confidence, kind, thresholds))
    everything = np.sort(confidence[kind != VOID])
    right = np.sort(confidence[kind == RIGHT])
    for row in histogram.selections():
        at = np.float32(row.threshold)
        assert row.total == len(everything)
        assert row.pixels == len(everything) - np.searchsorted(everything, at, "right")
        assert row.right == len(right) - np.searchsorted(right, at, "right")


@given(pixels, t_semis)
def test_area_is_that_of_ranks_to_within_its_error(pixels, t_semi):
    confidence, kind = parts(pixels)
    thresholds = thresholds_with(t_semi)
    histogram = Histogram(thresholds, counts_of(confidence, kind, thresholds))
    expected = sorted_auc(confidence, kind)
    if math.isnan(expected):
        assert math.isnan(histogram.auc) and math.isnan(histogram.auc_error)
    else:
        assert abs(histogram.auc - expected) <= histogram.auc_error + 1e-12
        assert 0 <= histogram.auc_error <= 0.5


@given(pixels, st.integers(0, 80))
def test_counts_of_parts_add_up_and_order_does_not_matter(pixels, cut):
    confidence, kind = parts(pixels)
    thresholds = thresholds_with(0.2)
    whole = counts_of(confidence, kind, thresholds)
    halves = [counts_of(confidence[p], kind[p], thresholds) for p in (np.s_[:cut], np.s_[cut:])]
    np.testing.assert_array_equal(sum(halves), whole)
    np.testing.assert_array_equal(counts_of(confidence[::-1], kind[::-1], thresholds), whole)
    assert whole.sum() == (kind != VOID).sum()


@given(st.lists(confidences, min_size=2, max_size=2).map(sorted), t_semis)
def test_higher_confidence_is_never_in_a_lower_cell(pair, t_semi):
    thresholds = thresholds_with(t_semi)
    low, high = (
        int(counts_of(np.array([one], np.float32), np.array([RIGHT]), thresholds)[1].argmax())
        for one in pair
    )
    assert low <= high
