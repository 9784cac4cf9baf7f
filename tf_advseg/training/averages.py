"""Averages of a network's weights over the steps (Polyak averaging; a mean teacher's weights)."""

import keras
import tensorflow as tf

from tf_advseg.training import replicas


def restart(averaged: keras.Model, network: keras.Model) -> None:
    """Makes the averages the weights of now; no gradient will change them."""
    averaged.trainable = False
    averaged.set_weights(network.get_weights())


def update(averaged: keras.Model, network: keras.Model, decay: float, step: tf.Tensor) -> None:
    """Moves the averages towards the weights, statistics of batch norm among them.

    They move faster at first, where the oldest weights are random.

    Args:
      averaged: the averages.
      network: with the same weights in the same order.
      decay: in 0-1, how much of an average is kept at a step.
      step: int64 [], steps taken before.
    """
    taken = tf.cast(step, tf.float32)
    kept = tf.minimum(decay, (1 + taken) / (10 + taken))
    pairs = zip(averaged.weights, network.weights, strict=True)
    replicas.assign(averaged.weights, [new + kept * (old - new) for old, new in pairs])
