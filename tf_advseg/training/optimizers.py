"""The two optimizers (section 4.1): SGD for the segmenter, Adam or SGD for the discriminator."""

from typing import Any

import keras
import tensorflow as tf

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
    optimizer = MomentumSGD(schedule, momentum=momentum, nesterov=nesterov)
    return with_loss_scaling(optimizer, precision)


def discriminator_optimizer(
    learning_rate: float,
    steps: int,
    *,
    name: str = "adam",
    betas: tuple[float, float] = (0.9, 0.99),
    momentum: float = 0.5,
    power: float = 0.9,
    step: tf.Variable | None = None,
    precision: str = "float32",
) -> keras.optimizers.Optimizer:
    """Returns the discriminator's optimizer under the poly schedule.

    Args:
      learning_rate: at the first step.
      steps: the run's length.
      name: "adam", with the authors' betas (train.py); or "sgd" with Nesterov's momentum, the
        challenge entry's (train.py).
      betas: of Adam.
      momentum: of SGD.
      power: of the schedule.
      step: what the schedule goes by; None means the updates that the optimizer has made. They are
        fewer than the run's steps where the discriminator does not learn in each.
      precision: a Keras dtype policy, for loss scaling.
    """
    schedule = polynomial_decay(learning_rate, steps, power)
    if step is not None:
        schedule = _ByStep(schedule, step)
    optimizers = {
        "adam": lambda: TorchAdam(schedule, *betas),
        "sgd": lambda: MomentumSGD(schedule, momentum=momentum, nesterov=True),
    }
    return with_loss_scaling(optimizers[name](), precision)


class _ByStep(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that goes by a variable instead of the optimizer's own count."""

    def __init__(
        self, schedule: keras.optimizers.schedules.LearningRateSchedule, step: tf.Variable
    ):
        self._schedule, self._step = schedule, step

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        del step
        return self._schedule(self._step)

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("it goes by a variable, which no configuration holds")


@keras.saving.register_keras_serializable("tf_advseg")
class MomentumSGD(keras.optimizers.SGD):
    """Keras' SGD whose update reads and writes each weight once.

    Keras computes it by a dozen operations, each of which goes through all weights. TensorFlow has
    one kernel for the whole of it.
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        if not self.momentum or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        velocity = self.momentums[self._index_dict[self._var_key(variable)]]
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=velocity.handle,
            lr=tf.cast(self.learning_rate, variable.dtype),
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


@keras.saving.register_keras_serializable("tf_advseg")
class TorchAdam(keras.optimizers.Adam):
    """Adam as PyTorch has it: epsilon is added to the root of the bias-corrected second moment.

    Keras adds it before the correction. That counts where gradients are small, as a
    discriminator's are, being means over all pixels.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)

    @property
    def epsilon(self) -> tf.Tensor:
        """What Keras' update adds to the root before the correction; it moves with the step."""
        step = tf.cast(self.iterations + 1, tf.float32)
        return self._epsilon * tf.sqrt(1 - tf.pow(self.beta_2, step))

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self._epsilon = value

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self._epsilon}
