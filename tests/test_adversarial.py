"""The game of the two networks, and what the discriminator is shown, against hand values."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.recipe import ADVERSARIAL_LOSSES
from tf_advseg.training import adversarial

VOID = 255
LN2, LN3 = math.log(2), math.log(3)


@pytest.mark.parametrize(
    ("name", "predicted", "true", "seen_through"),
    [
        # Logits of 0 and log 3 are probabilities of 1/2 and 3/4 of being a true label.
        ("cross_entropy", [LN2, 2 * LN2], [LN2, 2 * LN2 - LN3], [LN2, 2 * LN2 - LN3]),
        ("hinge", [1, 1 + LN3], [1, 0], [0, -LN3]),
        (
            "least_squares",
            [0.5, (LN3 + 1) ** 2 / 2],
            [0.5, (LN3 - 1) ** 2 / 2],
            [0, LN3**2 / 2],
        ),
    ],
)
def test_pixel_losses_equal_hand_values(name, predicted, true, seen_through):
    game = adversarial.game(name)
    logits = tf.constant([0, LN3])
    for own, expected in zip(game, (predicted, true, seen_through), strict=True):
        np.testing.assert_allclose(own(logits), expected, rtol=1e-6, atol=1e-7)


def test_smoothed_target_is_a_weighted_sum_of_two():
    true = adversarial.game("cross_entropy", label_smoothing=0.1).true(tf.constant([LN3]))
    expected = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    assert true.numpy()[0] == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_is_finite_at_extreme_logits():
    game = adversarial.game("cross_entropy")
    np.testing.assert_allclose(game.seen_through(tf.constant([-200.0, 200.0])), [200, 0])


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_each_side_gains_by_moving_its_way(name):
    game = adversarial.game(name)
    logits = tf.constant([-0.5, 0.5])

    def slope(loss):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = tf.reduce_sum(loss(logits))
        return tape.gradient(value, logits).numpy()

    assert (slope(game.predicted) > 0).all()
    assert (slope(game.true) < 0).all()
    # The segmenter wants predictions that were seen through to be taken for true labels.
    assert slope(game.seen_through)[0] < 0


LABELS = tf.constant([[[0, 1, VOID]]])
PROBABILITIES = tf.constant([[[[0.5, 0.3, 0.2], [0.01, 0.95, 0.04], [0.2, 0.5, 0.3]]]])


def test_truth_is_one_hot_at_a_peak_of_1():
    shown = adversarial.shown_truth(LABELS, PROBABILITIES, 1.0).numpy()
    np.testing.assert_array_equal(shown, [[[[1, 0, 0], [0, 1, 0], [0, 0, 0]]]])


def test_soft_truth_has_its_peak_and_the_predictions_proportions():
    shown = adversarial.shown_truth(LABELS, PROBABILITIES, 0.9).numpy()
    # The first pixel's 0.5 is raised to 0.9, and 0.1 is parted 3 to 2. The second one's is kept.
    expected = [[[[0.9, 0.06, 0.04], [0.01, 0.95, 0.04], [0, 0, 0]]]]
    np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-7)


def test_soft_truth_of_a_certain_prediction_is_a_number():
    probabilities = tf.constant([[[[1.0, 0.0], [0.0, 1.0]]]])
    shown = adversarial.shown_truth(tf.constant([[[0, 0]]]), probabilities, 0.9).numpy()
    np.testing.assert_allclose(shown, [[[[1, 0], [0.9, 0.1]]]], rtol=1e-6)


def test_soft_truth_passes_no_gradient_to_the_prediction():
    with tf.GradientTape() as tape:
        tape.watch(PROBABILITIES)
        shown = adversarial.shown_truth(LABELS, PROBABILITIES, 0.9)
    assert tape.gradient(shown, PROBABILITIES) is None


def test_noise_follows_its_seed_and_deviation():
    first, again, other = (adversarial.noise([4000], 0.3, [seed, 1]).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    assert first.std() == pytest.approx(0.3, rel=0.05)
    assert abs(first.mean()) < 0.02
