"""The losses: pure functions of tensors. Every mean is over the pixels that count, and 0 if none.

Logits are float32. Labels are int32 [B, H, W] with VOID_LABEL where a pixel has no class; such
pixels count in no loss. Masks are bool [B, H, W].

On one of several replicas (`replicas`), a mean is the part of it that this replica's pixels have:
their sum over the count of all replicas. The parts add up to the mean over the whole batch.
"""

import tensorflow as tf

from tf_advseg.data import VOID_LABEL
from tf_advseg.training import replicas


def masked_mean(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `values` where `mask` is true; 0 where it is true nowhere.

    Args:
      values: float32, any shape. A NaN that counts shows; one that is masked out does not.
      mask: bool, the same shape.

    Returns:
      float32 [].
    """
    total = tf.reduce_sum(tf.where(mask, values, tf.zeros_like(values)))
    # The count passes no gradient, being of a mask, so that none flows through the reduction.
    count = replicas.summed(tf.reduce_sum(tf.cast(mask, values.dtype)))
    return total / tf.maximum(count, 1.0)


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """L_ce, the multi-class cross-entropy on labeled pixels (equation 3).

    Args:
      logits: float32 [B, H, W, C].
      labels: int32 [B, H, W].

    Returns:
      float32 [], in nats.
    """
    counts = labels != VOID_LABEL
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(counts, labels, 0), logits)
    return masked_mean(losses, counts)


def correctness(logits: tf.Tensor, class_ids: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The cross-entropy of a confidence against whether a prediction is right.

    Args:
      logits: float32 [B, H, W], of the confidence.
      class_ids: int32 [B, H, W], predicted.
      labels: int32 [B, H, W].

    Returns:
      float32 [], in nats, over the pixels with a class.
    """
    right = tf.cast(class_ids == labels, tf.float32)
    pixel_losses = tf.nn.sigmoid_cross_entropy_with_logits(right, logits)
    return masked_mean(pixel_losses, labels != VOID_LABEL)
