"""Precision: the default, and loss scaling, which only this module knows."""

from collections.abc import Sequence

import keras
import tensorflow as tf

#: The smallest loss scale: an overflow at it is no matter of the scale.
LEAST_LOSS_SCALE = 1.0


def default_precision() -> str:
    """Returns mixed_float16 where TensorFlow sees a GPU, and float32 elsewhere.

    bfloat16 is twice as fast as float32 on processors that have it and far slower on others, so
    that it is left for the user to ask for.
    """
    return "mixed_float16" if tf.config.list_physical_devices("GPU") else "float32"


def with_loss_scaling(
    optimizer: keras.optimizers.Optimizer, precision: str
) -> keras.optimizers.Optimizer:
    """Returns the optimizer, wrapped in dynamic loss scaling if `precision` needs it.

    float16 has no number between 0 and 6e-8: small gradients survive only if the loss is scaled.
    A step whose gradients overflow is skipped, and the scale is halved.
    """
    if precision != "mixed_float16":
        return optimizer
    return keras.mixed_precision.LossScaleOptimizer(optimizer)


def scale_loss(optimizer: keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """Returns the loss to differentiate for this optimizer. Call it under the gradient tape."""
    return optimizer.get_scaled_loss(loss) if _scales(optimizer) else loss


def unscale_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Returns the gradients of the loss that was given to `scale_loss`."""
    return optimizer.get_unscaled_gradients(gradients) if _scales(optimizer) else list(gradients)


def loss_scale(optimizer: keras.optimizers.Optimizer) -> tf.Tensor | None:
    """Returns the current scale, float32 [], or None where there is no loss scaling."""
    return optimizer.loss_scale if _scales(optimizer) else None


def skipped(optimizer: keras.optimizers.Optimizer, scale: tf.Tensor) -> tf.Tensor:
    """Returns 1 if an optimizer's last update was left out because of an overflow, else 0.

    Args:
      optimizer: with loss scaling.
      scale: float32 [], as it was before the update.

    Returns:
      float32 [].
    """
    # The count of good steps begins again at an overflow, and where the scale is doubled.
    begins = tf.equal(optimizer.dynamic_counter, 0)
    return tf.cast(begins & (optimizer.loss_scale <= scale), tf.float32)


def _scales(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
