"""The losses against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.training import losses

VOID = 255
LN2, LN3 = math.log(2), math.log(3)


def logit(probability):
    return math.log(probability / (1 - probability))


def confidence_map(rows):
    """Discriminator logits [1, H, W, 1] of these confidences."""
    return tf.constant([[[[logit(p)] for p in row] for row in rows]], tf.float32)


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


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # Confidences 0.2, 0.5 and 0.75 count, 0.9 does not.
        (1.0, -(math.log(0.2) + math.log(0.5) + math.log(0.75)) / 3),
        (0.0, -(math.log(0.8) + math.log(0.5) + math.log(0.25)) / 3),
        # A smoothed target is a weighted sum of the two.
        (
            0.9,
            -0.9 * (math.log(0.2) + math.log(0.5) + math.log(0.75)) / 3
            - 0.1 * (math.log(0.8) + math.log(0.5) + math.log(0.25)) / 3,
        ),
    ],
)
def test_binary_cross_entropy_equals_hand_value(target, expected):
    logits = confidence_map([[0.2, 0.9], [0.5, 0.75]])
    mask = tf.constant([[[True, False], [True, True]]])
    loss = losses.binary_cross_entropy(logits, target, mask)
    assert loss.numpy() == pytest.approx(expected, rel=1e-5)


def test_binary_cross_entropy_without_pixels_is_zero():
    logits = confidence_map([[0.2, 0.9]])
    assert losses.binary_cross_entropy(logits, 1.0, tf.constant([[[False, False]]])).numpy() == 0


def test_binary_cross_entropy_shows_nan_at_counted_pixels_only():
    logits = tf.constant([[[[math.nan], [0.0]]]])
    masked = losses.binary_cross_entropy(logits, 1.0, tf.constant([[[False, True]]]))
    assert masked.numpy() == pytest.approx(LN2)
    counted = losses.binary_cross_entropy(logits, 1.0, tf.constant([[[True, True]]]))
    assert math.isnan(counted.numpy())


def test_binary_cross_entropy_is_finite_at_extreme_logits():
    logits = tf.constant([[[[-200.0], [200.0]]]])
    loss = losses.binary_cross_entropy(logits, 1.0, tf.constant([[[True, True]]]))
    assert loss.numpy() == pytest.approx(100)


# Softmax (1/4, 1/2, 1/4), so that the pseudo-label is 1 and its loss is ln 2.
TOWARDS_1 = [0, LN2, 0]
# Softmax (3/5, 1/5, 1/5): pseudo-label 0, loss ln(5/3).
TOWARDS_0 = [LN3, 0, 0]


def test_semi_supervised_is_the_mean_over_selected_pixels():
    logits = tf.constant([[[TOWARDS_1, TOWARDS_0], [TOWARDS_0, TOWARDS_0]]], tf.float32)
    discriminator_logits = confidence_map([[0.3, 0.1], [0.21, 0.19]])
    loss, share = losses.semi_supervised(
        logits, discriminator_logits, tf.fill([1, 2, 2], True), 0.2
    )
    assert loss.numpy() == pytest.approx((LN2 + math.log(5 / 3)) / 2, rel=1e-6)
    assert share.numpy() == 0.5


def test_semi_supervised_selects_strictly_above_the_threshold():
    # A logit of 0 is a confidence of exactly one half.
    logits = tf.constant([[[TOWARDS_1, TOWARDS_0]]], tf.float32)
    loss, share = losses.semi_supervised(
        logits, tf.constant([[[[0.0], [1e-3]]]]), tf.fill([1, 1, 2], True), 0.5
    )
    assert share.numpy() == 0.5
    assert loss.numpy() == pytest.approx(math.log(5 / 3), rel=1e-6)


def test_semi_supervised_never_selects_padding():
    logits = tf.constant([[[TOWARDS_1, TOWARDS_0, TOWARDS_1]]], tf.float32)
    discriminator_logits = confidence_map([[0.9, 0.9, 0.1]])
    valid = tf.constant([[[False, True, True]]])
    loss, share = losses.semi_supervised(logits, discriminator_logits, valid, 0.2)
    assert loss.numpy() == pytest.approx(math.log(5 / 3), rel=1e-6)
    assert share.numpy() == 0.5  # One of two valid pixels, not one or two of three.


@pytest.mark.parametrize("case", ["too unsure", "all padded"])
def test_semi_supervised_of_an_empty_selection_is_zero_with_finite_zero_gradients(case):
    logits = tf.constant([[[TOWARDS_1, TOWARDS_0]]], tf.float32)
    t_semi = 1.0 if case == "too unsure" else 0.2
    valid = tf.fill([1, 1, 2], case == "too unsure")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss, share = losses.semi_supervised(logits, confidence_map([[0.9, 0.9]]), valid, t_semi)
    assert (loss.numpy(), share.numpy()) == (0, 0)
    assert tape.gradient(loss, logits).numpy().tolist() == np.zeros([1, 1, 2, 3]).tolist()


def test_semi_supervised_gradient_is_softmax_minus_one_hot_at_selected_pixels():
    # A gradient through the pseudo-label or the selection would add to it.
    logits = tf.random.stateless_normal([1, 2, 2, 3], [3, 4])
    discriminator_logits = confidence_map([[0.3, 0.1], [0.9, 0.8]])
    valid = tf.constant([[[True, True], [True, False]]])
    with tf.GradientTape() as tape:
        tape.watch([logits, discriminator_logits])
        loss, _ = losses.semi_supervised(logits, discriminator_logits, valid, 0.2)
    to_logits, to_discriminator = tape.gradient(loss, [logits, discriminator_logits])
    assert to_discriminator is None
    softmax = tf.nn.softmax(logits).numpy()
    expected = (softmax - np.eye(3)[softmax.argmax(-1)]) / 2
    expected[0, 0, 1] = expected[0, 1, 1] = 0
    np.testing.assert_allclose(to_logits, expected, atol=1e-6)


def test_semi_supervised_passes_no_gradient_through_the_discriminator_to_the_logits():
    logits = tf.random.stateless_normal([1, 3, 3, 4], [5, 6])
    valid = tf.fill([1, 3, 3], True)

    def gradient(detached):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            judged = 5 * tf.reduce_max(tf.nn.softmax(logits), -1, keepdims=True) - 2.5
            judged = tf.constant(judged.numpy()) if detached else judged
            loss, share = losses.semi_supervised(logits, judged, valid, 0.5)
        assert 0 < share.numpy() < 1
        return tape.gradient(loss, logits).numpy()

    np.testing.assert_array_equal(gradient(detached=False), gradient(detached=True))
