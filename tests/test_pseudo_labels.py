"""Pseudo-labels: which pixels are selected, what they cost, and where gradients stop."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.recipe import Recipe
from tf_advseg.training import pseudo_labels

LN2, LN3 = math.log(2), math.log(3)
# Softmax (1/4, 1/2, 1/4), so that the pseudo-label is 1 and its loss is ln 2.
TOWARDS_1 = [0, LN2, 0]
# Softmax (3/5, 1/5, 1/5): pseudo-label 0, loss ln(5/3).
TOWARDS_0 = [LN3, 0, 0]
RECIPE = Recipe(t_semi=0.2, t_probability=0.55)


def row(*pixels):
    """One image of one row: logits [1, 1, W, 3]."""
    return tf.constant([[pixels]], tf.float32)


def line(*values):
    """A map of it, [1, 1, W]."""
    return tf.constant([[values]])


def loss_and_share(logits, confidence, valid, recipe=RECIPE):
    labels = pseudo_labels.own(logits, confidence, valid, recipe)
    share = pseudo_labels.selected_share(labels, valid)
    return float(labels.loss(logits)), float(share)


def test_own_loss_is_the_mean_over_selected_pixels():
    logits = row(TOWARDS_1, TOWARDS_0, TOWARDS_0, TOWARDS_0)
    found = loss_and_share(logits, line(0.3, 0.1, 0.21, 0.19), tf.fill([1, 1, 4], True))
    assert found == pytest.approx(((LN2 + math.log(5 / 3)) / 2, 0.5), rel=1e-6)


def test_selection_is_strictly_above_the_threshold():
    recipe = dataclasses.replace(RECIPE, t_semi=0.5)
    confidence = line(0.5, 0.5003)
    loss, share = loss_and_share(row(TOWARDS_1, TOWARDS_0), confidence, line(True, True), recipe)
    assert (loss, share) == pytest.approx((math.log(5 / 3), 0.5), rel=1e-6)


def test_padding_is_never_selected():
    valid = line(False, True, True)
    found = loss_and_share(row(TOWARDS_1, TOWARDS_0, TOWARDS_1), line(0.9, 0.9, 0.1), valid)
    # One of two valid pixels, not one or two of three.
    assert found == pytest.approx((math.log(5 / 3), 0.5), rel=1e-6)


@pytest.mark.parametrize("case", ["too unsure", "all padded"])
def test_empty_selection_costs_nothing_with_finite_zero_gradients(case):
    logits = row(TOWARDS_1, TOWARDS_0)
    recipe = dataclasses.replace(RECIPE, t_semi=1.0 if case == "too unsure" else 0.2)
    valid = tf.fill([1, 1, 2], case == "too unsure")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        labels = pseudo_labels.own(logits, line(0.9, 0.9), valid, recipe)
        loss = labels.loss(logits)
    assert (loss.numpy(), pseudo_labels.selected_share(labels, valid).numpy()) == (0, 0)
    assert tape.gradient(loss, logits).numpy().tolist() == np.zeros([1, 1, 2, 3]).tolist()


def test_gradient_is_softmax_minus_one_hot_at_selected_pixels():
    # A gradient through the pseudo-label or the selection would add to it.
    logits = tf.random.stateless_normal([1, 2, 2, 3], [3, 4])
    confidence = tf.constant([[[0.3, 0.1], [0.9, 0.8]]])
    valid = tf.constant([[[True, True], [True, False]]])
    with tf.GradientTape() as tape:
        tape.watch([logits, confidence])
        loss = pseudo_labels.own(logits, confidence, valid, RECIPE).loss(logits)
    to_logits, to_confidence = tape.gradient(loss, [logits, confidence])
    assert to_confidence is None
    softmax = tf.nn.softmax(logits).numpy()
    expected = (softmax - np.eye(3)[softmax.argmax(-1)]) / 2
    expected[0, 0, 1] = expected[0, 1, 1] = 0
    np.testing.assert_allclose(to_logits, expected, atol=1e-6)


@pytest.mark.parametrize("selection", ["confidence", "weighted"])
def test_no_gradient_goes_through_the_confidence_to_the_logits(selection):
    logits = tf.random.stateless_normal([1, 3, 3, 4], [5, 6])
    valid = tf.fill([1, 3, 3], True)
    recipe = dataclasses.replace(RECIPE, t_semi=0.5, t_probability=0.4, selection=selection)

    def gradient(detached):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            confidence = tf.sigmoid(5 * tf.reduce_max(tf.nn.softmax(logits), -1) - 2.5)
            confidence = tf.constant(confidence.numpy()) if detached else confidence
            labels = pseudo_labels.own(logits, confidence, valid, recipe)
            loss = labels.loss(logits)
        assert 0 < pseudo_labels.selected_share(labels, valid).numpy() < 1
        return tape.gradient(loss, logits).numpy()

    np.testing.assert_array_equal(gradient(detached=False), gradient(detached=True))


@pytest.mark.parametrize(
    ("selection", "weights"),
    [
        # Largest probabilities 1/2, 3/5, 3/5, 3/5; above 0.55 but for the first.
        ("confidence", [1, 1, 0, 1]),
        ("probability", [0, 1, 1, 1]),
        ("both", [0, 1, 0, 1]),
        ("weighted", [0, 0.3, 0.1, 0.9]),
    ],
)
def test_each_selection_weighs_pixels_by_its_rule(selection, weights):
    logits = row(TOWARDS_1, TOWARDS_0, TOWARDS_0, TOWARDS_0)
    recipe = dataclasses.replace(RECIPE, selection=selection)
    valid = tf.fill([1, 1, 4], True)
    labels = pseudo_labels.from_teacher(
        tf.nn.softmax(logits), line(0.4, 0.3, 0.1, 0.9), valid, recipe
    )
    np.testing.assert_allclose(labels.weights.numpy()[0, 0], weights, rtol=1e-6)
    assert labels.class_ids.numpy().tolist() == [[[1, 0, 0, 0]]]
    # A teacher's loss is over all valid pixels.
    expected = np.dot(weights, [LN2, *[math.log(5 / 3)] * 3]) / 4
    assert float(labels.loss(logits)) == pytest.approx(expected, rel=1e-6)


def test_selection_by_probability_needs_no_confidence():
    recipe = dataclasses.replace(RECIPE, selection="probability")
    found = loss_and_share(row(TOWARDS_1, TOWARDS_0), None, line(True, True), recipe)
    assert found == pytest.approx((math.log(5 / 3), 0.5), rel=1e-6)
