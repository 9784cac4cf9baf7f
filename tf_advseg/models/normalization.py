"""Batch norm that does not use, or does not follow, the statistics of each batch as Keras' does."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tf_advseg")
class FrozenAffineBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm whose scale and shift do not learn, but which uses and follows batch statistics.

    It is what the authors' code does (model/deeplab.py): it switches off the gradients of those two
    and leaves the network in training mode.
    """

    def add_weight(self, name: str | None = None, **kwargs: Any) -> tf.Variable:
        if name in ("gamma", "beta"):
            kwargs["trainable"] = False
        return super().add_weight(name=name, **kwargs)


@keras.saving.register_keras_serializable("tf_advseg")
class FoldedBatchNormalization(keras.layers.BatchNormalization):
    """A frozen batch norm, in training too: what it does is a scale and a shift of each channel.

    Where it follows a convolution, that one does both by its kernel and its bias, for nothing
    (`Conv2D.fold`), and this layer only holds the weights.
    """

    def __init__(self, **kwargs: Any):
        kwargs["trainable"] = False
        super().__init__(**kwargs)
        self.folded = False

    def scale_and_shift(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what a channel is multiplied with, and what is added then; float32 [C] each."""
        scale = self.gamma * tf.math.rsqrt(self.moving_variance + self.epsilon)
        return scale, self.beta - self.moving_mean * scale

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return inputs if self.folded else super().call(inputs, training=False)


@keras.saving.register_keras_serializable("tf_advseg")
class PooledBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm of a map that may be one value in each channel: one image, averaged as a whole.

    A batch of one value has no variance. Batch norm would make it zero whatever it is, and drive
    the stored variance to zero, so that the trained network's outputs are off by hundreds. (PyTorch
    refuses such a batch.) Here it is normalised with the stored statistics, which stay as they are.
    """

    def call(self, inputs: tf.Tensor, training: bool | tf.Tensor | None = None) -> tf.Tensor:
        if training is not None and training is not False:
            has_variance = tf.reduce_prod(tf.shape(inputs)[:-1]) > 1
            training = tf.logical_and(tf.cast(training, tf.bool), has_variance)
        return super().call(inputs, training=training)
