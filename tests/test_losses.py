"""The losses against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.training import losses

VOID = 255
LN2, LN3 = math.log(2), math.log(3)


def test_masked_mean_counts_the_masked_in_values_only():
    mean = losses.masked_mean(tf.constant([1.0, 2.0, 6.0]), tf.constant([True, False, True]))
    assert mean.numpy() == 3.5


def test_masked_mean_of_nothing_is_zero():
    assert losses.masked_mean(tf.constant([1.0, 2.0]), tf.constant([False, False])).numpy() == 0


def test_masked_mean_hides_nan_where_masked_out_and_shows_it_where_it_counts():
    values = tf.constant([math.nan, 4.0])
    assert losses.masked_mean(values, tf.constant([False, True])).numpy() == 4
    assert math.isnan(losses.masked_mean(values, tf.constant([True, True])).numpy())


def test_cross_entropy_equals_hand_value_with_void_pixels():
    # Softmax of (0, ln 2, 0) is (1/4, 1/2, 1/4); of zeros it is 1/3 each.
    logits = tf.constant([[[[0, LN2, 0], [0, LN2, 0]], [[0, 0, 0], [50, 0, 0]]]], tf.float32)
    labels = tf.constant([[[0, 1], [2, VOID]]])
    expected = (math.log(4) + LN2 + LN3) / 3
    assert losses.cross_entropy(logits, labels).numpy() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_of_void_alone_is_zero_with_zero_gradient():
    logits = tf.ones([1, 2, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.cross_entropy(logits, tf.fill([1, 2, 2], VOID))
    assert loss.numpy() == 0
    assert not tape.gradient(loss, logits).numpy().any()


def test_cross_entropy_gradient_is_softmax_minus_one_hot_over_the_count():
    logits = tf.random.stateless_normal([1, 2, 2, 3], [1, 2])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.cross_entropy(logits, tf.constant([[[0, VOID], [2, 1]]]))
    expected = tf.nn.softmax(logits).numpy()
    expected[0, 0, 0, 0] -= 1
    expected[0, 1, 0, 2] -= 1
    expected[0, 1, 1, 1] -= 1
    expected[0, 0, 1] = 0
    np.testing.assert_allclose(tape.gradient(loss, logits), expected / 3, atol=1e-6)


def test_cross_entropy_shows_nan_at_counted_pixels_only():
    logits = tf.constant([[[[math.nan, 0, 0], [0, 0, 0]]]])
    assert losses.cross_entropy(logits, tf.constant([[[VOID, 1]]])).numpy() == pytest.approx(LN3)
    assert math.isnan(losses.cross_entropy(logits, tf.constant([[[0, 1]]])).numpy())


def test_correctness_is_the_cross_entropy_against_being_right():
    # A logit of log 3 is a confidence of 3/4. Right, wrong, and void.
    logits = tf.constant([[[LN3, LN3, 9.0]]])
    loss = losses.correctness(logits, tf.constant([[[1, 2, 0]]]), tf.constant([[[1, 0, VOID]]]))
    assert loss.numpy() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2, rel=1e-6)


def test_correctness_of_void_alone_is_zero():
    void = tf.constant([[[VOID]]])
    assert losses.correctness(tf.constant([[[5.0]]]), tf.constant([[[0]]]), void).numpy() == 0
