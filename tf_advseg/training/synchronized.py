"""Batch norm over the images of all replicas, so that N of them normalise as one would.

Keras' own (`BatchNormalization(synchronized=True)`) stores another variance than its usual kernel,
without the correction by n / (n - 1), and takes it as E[x^2] - E[x]^2, which loses digits.
"""

import keras
import tensorflow as tf

from tf_advseg.models.normalization import FoldedBatchNormalization, FrozenAffineBatchNormalization
from tf_advseg.models.recompute import RecomputingNetwork
from tf_advseg.training import replicas


@keras.saving.register_keras_serializable("tf_advseg")
class SynchronizedBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm whose batch is that of all replicas; they must hold equally many values.

    A batch of one value in each channel has no variance: it is normalised with the stored
    statistics, as in `models.normalization.PooledBatchNormalization`.

    Input: [B, H, W, C], of any float dtype. Output: the same.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        if not training or not self.trainable or context is None:
            return super().call(inputs, training=False)
        count = tf.size(inputs) // tf.shape(inputs)[-1] * context.num_replicas_in_sync
        # 16 bits are too few for sums of so many values.
        values = tf.cast(inputs, tf.float32)
        mean, variance = self._statistics(values, context.num_replicas_in_sync)
        has_variance = count > 1
        mean = tf.where(has_variance, mean, self.moving_mean)
        variance = tf.where(has_variance, variance, self.moving_variance)
        count = tf.cast(count, tf.float32)
        correction = tf.where(has_variance, count / tf.maximum(count - 1, 1.0), 1.0)
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * correction)
        normalized = tf.nn.batch_normalization(
            values, mean, variance, self.beta, self.gamma, self.epsilon
        )
        return tf.cast(normalized, inputs.dtype)

    def _statistics(self, values: tf.Tensor, parts: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mean and variance of each channel over all replicas, float32 [C]."""
        axes = tuple(range(values.shape.rank - 1))
        mean = replicas.summed(tf.reduce_mean(values, axes)) / parts
        squares = tf.math.squared_difference(values, mean)
        return mean, replicas.summed(tf.reduce_mean(squares, axes)) / parts

    def _follow(self, stored: tf.Variable, value: tf.Tensor) -> None:
        # Every replica has the same value, so that each moves its own copy alike.
        stored.assign_sub((stored - tf.stop_gradient(value)) * (1 - self.momentum))


@keras.saving.register_keras_serializable("tf_advseg")
class SynchronizedFrozenAffine(SynchronizedBatchNormalization, FrozenAffineBatchNormalization):
    """The same with scale and shift that do not learn."""


def synchronized(network: keras.Model) -> keras.Model:
    """Returns a network of the same layers, names and weights with synchronised batch norm.

    Args:
      network: functional; models in it are rebuilt too, but for those whose norms are all frozen:
        they are the same for every image, and may be folded into the convolutions.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return rebuild(layer) if _has_batch_statistics(layer) else layer
        if isinstance(layer, FrozenAffineBatchNormalization):
            return SynchronizedFrozenAffine.from_config(layer.get_config())
        if isinstance(layer, keras.layers.BatchNormalization):
            return SynchronizedBatchNormalization.from_config(layer.get_config())
        return type(layer).from_config(layer.get_config())

    def rebuild(model: keras.Model) -> keras.Model:
        copy = keras.models.clone_model(model, clone_function=clone)
        if isinstance(model, RecomputingNetwork):
            return RecomputingNetwork(copy.input, copy.output, copy.name)
        return copy

    copy = rebuild(network)
    copy.set_weights(network.get_weights())
    return copy


def _has_batch_statistics(network: keras.Model) -> bool:
    return any(
        isinstance(layer, keras.layers.BatchNormalization)
        and not isinstance(layer, FoldedBatchNormalization)
        for layer in network.layers
    )
