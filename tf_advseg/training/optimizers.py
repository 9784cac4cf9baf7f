"""The two optimizers (section 4.1): SGD for the segmenter, Adam for the discriminator."""

import keras

from tf_advseg.training.precision import with_loss_scaling


def polynomial_decay(
    learning_rate: float, steps: int, power: float = 0.9
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the "poly" schedule, learning_rate * (1 - step / steps) ** power."""
    return keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, 0.0, power)


def segmenter_optimizer(
    learning_rate: float,
    steps: int,
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    power: float = 0.9,
    precision: str = "float32",
) -> keras.optimizers.Optimizer:
    """Returns SGD with Nesterov's momentum under the poly schedule.

    The L2 penalty and the head's own rate are the trainer's, in the gradients: Keras'
    `weight_decay` is decoupled from the learning rate's momentum, and no L2 penalty.
    """
    schedule = polynomial_decay(learning_rate, steps, power)
    optimizer = keras.optimizers.SGD(schedule, momentum=momentum, nesterov=nesterov)
    return with_loss_scaling(optimizer, precision)


def discriminator_optimizer(
    learning_rate: float,
    steps: int,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    power: float = 0.9,
    precision: str = "float32",
) -> keras.optimizers.Optimizer:
    """Returns Adam under the poly schedule, with the authors' betas (train.py)."""
    schedule = polynomial_decay(learning_rate, steps, power)
    optimizer = keras.optimizers.Adam(schedule, beta_1=beta_1, beta_2=beta_2)
    return with_loss_scaling(optimizer, precision)
