"""Learning rate schedule, optimizer settings, and loss scaling."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.training import precision
from tf_advseg.training.optimizers import (
    TorchAdam,
    discriminator_optimizer,
    polynomial_decay,
    segmenter_optimizer,
)


@pytest.mark.parametrize(
    ("step", "expected"),
    # (1 - step / 100) ** 0.9, by hand: 0.9^0.9 = 0.909533, 0.5^0.9 = 0.535887, 0.01^0.9 = 0.015849.
    [(0, 0.02), (10, 0.02 * 0.909533), (50, 0.02 * 0.535887), (99, 0.02 * 0.0158489), (100, 0.0)],
)
def test_poly_schedule_has_the_published_values(step, expected):
    assert float(polynomial_decay(0.02, 100)(step)) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_poly_schedule_stays_at_zero_after_the_last_step():
    assert float(polynomial_decay(0.02, 100)(130)) == 0


def test_poly_schedule_of_power_one_is_linear():
    assert float(polynomial_decay(0.5, 10, power=1.0)(4)) == pytest.approx(0.3)


def test_segmenter_learns_by_nesterov_momentum_without_decoupled_decay():
    optimizer = segmenter_optimizer(0.1, 10)
    assert isinstance(optimizer, keras.optimizers.SGD)
    config = optimizer.get_config()
    assert config["momentum"] == 0.9
    assert config["nesterov"] is True
    assert config["weight_decay"] is None
    plain = segmenter_optimizer(0.1, 10, momentum=0.5, nesterov=False).get_config()
    assert (plain["momentum"], plain["nesterov"]) == (0.5, False)


def test_discriminator_learns_by_adam_with_the_authors_betas():
    optimizer = discriminator_optimizer(1e-4, 10)
    assert isinstance(optimizer, keras.optimizers.Adam)
    config = optimizer.get_config()
    assert (config["beta_1"], config["beta_2"]) == (0.9, 0.99)


@pytest.mark.parametrize("build", [segmenter_optimizer, discriminator_optimizer])
def test_learning_rate_is_that_of_the_last_step_taken(build):
    optimizer = build(0.02, 100)
    weight = tf.Variable([1.0])
    optimizer.build([weight])
    for _ in range(11):
        optimizer.apply_gradients([(tf.zeros([1]), weight)])
    assert float(optimizer.learning_rate) == pytest.approx(0.02 * 0.909533, rel=1e-5)


def test_sgd_takes_the_steps_of_nesterov_momentum():
    optimizer = segmenter_optimizer(0.1, 4)
    weight = tf.Variable([1.0])
    expected, velocity = 1.0, 0.0
    for step, gradient in enumerate((2.0, -1.0, 0.5)):
        optimizer.apply_gradients([(tf.constant([gradient]), weight)])
        rate = 0.1 * (1 - step / 4) ** 0.9
        velocity = 0.9 * velocity - rate * gradient
        expected += 0.9 * velocity - rate * gradient
        assert weight.numpy()[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("build", [segmenter_optimizer, discriminator_optimizer])
@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_only_float16_scales_its_loss(build, name):
    optimizer = build(0.1, 10, precision=name)
    scaled = isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
    assert scaled == (name == "mixed_float16")
    assert (precision.loss_scale(optimizer) is not None) == scaled


def test_scaled_loss_is_the_loss_times_the_scale_and_is_divided_out_again():
    optimizer = segmenter_optimizer(0.1, 10, precision="mixed_float16")
    scale = float(precision.loss_scale(optimizer))
    assert scale == 2**15
    assert float(precision.scale_loss(optimizer, tf.constant(3.0))) == 3 * scale
    gradients = precision.unscale_gradients(optimizer, [tf.constant([scale, -2 * scale])])
    assert gradients[0].numpy().tolist() == [1, -2]


def test_unscaled_optimizer_leaves_loss_and_gradients_alone():
    optimizer = segmenter_optimizer(0.1, 10)
    loss, gradient = tf.constant(3.0), tf.constant([1.0])
    assert precision.scale_loss(optimizer, loss) is loss
    assert precision.unscale_gradients(optimizer, (gradient,)) == [gradient]


def test_adam_adds_epsilon_after_the_bias_correction():
    # One step from zero: m / (1 - 0.9) = g and v / (1 - 0.99) = g ** 2, so the step is
    # rate * g / (g + epsilon): half the rate for a gradient of epsilon's size.
    optimizer = TorchAdam(0.1, 0.9, 0.99, epsilon=1e-3)
    variable = tf.Variable([0.0, 0.0])
    optimizer.apply_gradients([(tf.constant([1e-3, 1.0]), variable)])
    np.testing.assert_allclose(variable, [-0.05, -0.1 / 1.001], rtol=1e-5)
    # A second step with the same gradients: both corrected moments stay what they are.
    optimizer.apply_gradients([(tf.constant([1e-3, 1.0]), variable)])
    np.testing.assert_allclose(variable, [-0.1, -0.2 / 1.001], rtol=1e-5)


def test_adam_comes_back_from_its_config():
    optimizer = TorchAdam(0.1, epsilon=1e-3)
    rebuilt = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(rebuilt) is TorchAdam
    assert rebuilt.get_config() == optimizer.get_config()


def test_discriminator_can_learn_by_nesterov_sgd():
    optimizer = discriminator_optimizer(1e-4, 10, name="sgd", momentum=0.25)
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.nesterov) == (0.25, True)
