"""Pixels counted by confidence, against comparisons and pairs of pixels, one by one."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.evaluation import selection
from tf_advseg.evaluation.selection import Histogram, thresholds_with

VOID = 255
T_SEMI = 0.45
THRESHOLDS = thresholds_with(T_SEMI)


def counts_of(confidence, right, thresholds=THRESHOLDS):
    """Counts pixels whose class is predicted right (1), wrong (0), or void (2)."""
    label = tf.constant(np.array([0, 1, VOID])[np.asarray(right)], tf.uint8)
    class_ids = tf.ones_like(label, tf.int32)
    return selection.count(tf.constant(confidence, tf.float32), label, class_ids, thresholds)


def histogram_of(confidence, right, thresholds=THRESHOLDS):
    return Histogram(thresholds, counts_of(confidence, right, thresholds).numpy())


def exact_auc(confidence, right):
    """The share of pairs of a right and a wrong pixel that are in order; ties count half."""
    confidence, right = np.asarray(confidence, np.float32), np.asarray(right)
    positive, negative = confidence[right == 1, np.newaxis], confidence[right == 0]
    return float(np.mean((positive > negative) + 0.5 * (positive == negative)))


def sigmoid(logits):
    return (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)


def test_thresholds_are_tenths_and_the_runs_own():
    tenths = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert thresholds_with(0.2) == tenths
    assert thresholds_with(0.45) == (*tenths[:5], 0.45, *tenths[5:])
    assert thresholds_with(1.0) == (*tenths, 1.0)


@pytest.mark.parametrize("t_semi", [0.2, 0.45, 0.123456, 0.5000001, 1e-6, 0.9999999, 1.0])
def test_selection_is_exact_beside_and_at_each_threshold(t_semi):
    thresholds = thresholds_with(t_semi)
    at = np.array(thresholds, np.float32)
    near = [at, np.nextafter(at, np.float32(2)), np.nextafter(at[1:], np.float32(-1))]
    confidence = np.minimum(np.concatenate([*near, [0, 1, 2**-24, 1 - 2**-24]]), 1)
    confidence = np.where(confidence < 1e-30, 0, confidence).astype(np.float32)
    right = np.random.default_rng(0).integers(0, 3, len(confidence))
    histogram = histogram_of(confidence, right, thresholds)
    for threshold, row in zip(thresholds, histogram.selections(), strict=True):
        above = (confidence > np.float32(threshold)) & (right != 2)
        assert row.threshold == threshold
        assert (row.pixels, row.right) == (above.sum(), (above & (right == 1)).sum())
        assert row.total == (right != 2).sum()


def test_selection_of_random_pixels_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    confidence, right = rng.random(500, np.float32), rng.integers(0, 3, 500)
    for row in histogram_of(confidence, right).selections():
        pixels = hits = total = 0
        for value, kind in zip(confidence, right):
            if kind != 2:
                total += 1
                pixels += int(value > np.float32(row.threshold))
                hits += int(value > np.float32(row.threshold) and kind == 1)
        assert (row.pixels, row.right, row.total) == (pixels, hits, total)
        assert row.fraction == pixels / total
        assert row.accuracy == hits / pixels


def test_threshold_that_was_not_counted_is_refused():
    with pytest.raises(ValueError, match=r"0\.25"):
        histogram_of([0.5], [1]).above(0.25)


def test_what_is_no_confidence_is_selected_by_no_threshold():
    histogram = histogram_of([math.nan, -1.0, 0.0], [1, 1, 0])
    assert histogram.above(0.0).pixels == 0
    assert histogram.counts.sum() == 3
    assert histogram_of([1.0, 2.0], [1, 0]).above(0.9).pixels == 2


RNG = np.random.default_rng(2)
RIGHT = RNG.integers(0, 2, 2000)
#: name -> confidence of 2000 pixels, and how far off the area may be.
CONFIDENCES = {
    "even": (RNG.random(2000), 2e-4),
    "even, and higher for right pixels": ((RNG.random(2000) + RIGHT) / 2, 2e-4),
    "a discriminator that wins": (sigmoid(RNG.normal(-6 + RIGHT, 1)), 2e-4),
    "crowded near 0": (sigmoid(RNG.normal(-30 + RIGHT, 0.5)), 5e-4),
    "crowded near 1": (sigmoid(RNG.normal(9 + RIGHT, 0.5)), 5e-4),
    "crowded at 1": (sigmoid(RNG.normal(16 + RIGHT, 1)), 1e-9),
    "a few values": (RNG.choice([0, 0.1, 0.2, 0.5, 1], 2000), 1e-9),
    "at both ends": (np.where(RNG.random(2000) < 0.5, 1e-20, 1 - 2**-22), 1e-9),
    "one value": (np.full(2000, 0.3), 1e-9),
}


@pytest.mark.parametrize("name", CONFIDENCES)
def test_area_under_the_curve_is_that_of_all_pairs(name):
    confidence, tolerance = CONFIDENCES[name]
    histogram = histogram_of(confidence, RIGHT)
    exact = exact_auc(confidence, RIGHT)
    assert histogram.auc == pytest.approx(exact, abs=tolerance)
    assert abs(histogram.auc - exact) <= histogram.auc_error + 1e-12
    largest = (histogram.counts.max(axis=1) / histogram.counts.sum(axis=1)).min()
    assert histogram.auc_error <= largest / 2 + 1e-12


@pytest.mark.parametrize("name", ["even", "a discriminator that wins"])
def test_bound_on_the_error_of_the_area_is_small(name):
    assert histogram_of(CONFIDENCES[name][0], RIGHT).auc_error < 2e-3


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        (0, 1e-30),
        (1e-30, 1.01e-30),
        (1e-8, 1.01e-8),
        (0.1, 0.101),
        (0.495, 0.5),
        (0.5, 0.505),
        (0.9, 0.901),
        (1 - 3 * 2**-24, 1 - 2**-23),
        (1 - 2**-24, 1),
    ],
)
def test_confidences_that_differ_a_little_are_told_apart_anywhere(lower, higher):
    assert histogram_of([lower, higher], [0, 1]).auc == 1
    assert histogram_of([lower, higher], [1, 0]).auc == 0


def test_area_is_none_where_all_pixels_are_of_one_kind():
    for right in ([1, 1, 2], [0, 0, 2], [2, 2, 2]):
        histogram = histogram_of([0.1, 0.5, 0.9], right)
        assert math.isnan(histogram.auc)
        assert math.isnan(histogram.auc_error)
    nothing = histogram_of([0.5], [2]).above(T_SEMI)
    assert math.isnan(nothing.fraction)
    assert math.isnan(nothing.accuracy)


def test_counts_add_up_over_images_of_any_shape():
    rng = np.random.default_rng(3)
    confidence, right = rng.random((7, 9), np.float32), rng.integers(0, 3, (7, 9))
    whole = counts_of(confidence, right)
    parts = selection.no_counts(THRESHOLDS)
    for rows in (slice(0, 1), slice(1, 5), slice(5, 7)):
        parts += counts_of(confidence[rows], right[rows])
    assert whole.dtype == parts.dtype == tf.int64
    np.testing.assert_array_equal(whole, parts)
    assert whole.shape[1] < 40_000  # Of any number of pixels.


def test_counts_beyond_32_bits_do_not_overflow():
    histogram = histogram_of([0.25, 0.75, 0.25, 0.75], [0, 0, 1, 1])
    huge = Histogram(THRESHOLDS, histogram.counts * np.array([[2**40], [3 * 2**40]]))
    assert huge.above(0.5).pixels == 2**42
    assert huge.auc == 0.5
