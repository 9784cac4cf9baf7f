"""The coin of recipes that use one kind of images a step."""

import tensorflow as tf


def is_labeled_step(seed: int, step: tf.Tensor) -> tf.Tensor:
    """Returns whether a step uses labeled images, and no unlabeled ones: half of them do.

    The data set and the trainer each ask for themselves, and hear the same.

    Args:
      seed: of the run.
      step: int64 [], from 0 on.

    Returns:
      bool [].
    """
    return tf.random.stateless_uniform([], tf.stack([seed, step])) < 0.5
