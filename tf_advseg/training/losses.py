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


def binary_cross_entropy(logits: tf.Tensor, target: float, mask: tf.Tensor) -> tf.Tensor:
    """The spatial cross-entropy of the discriminator's logits against one target.

    With target 1 on predictions it is L_adv (equation 4); L_D (equation 1) is the sum of it with
    target 0 on predictions and with target 1 on true labels.

    Args:
      logits: float32 [B, H, W, 1].
      target: in 0-1.
      mask: bool [B, H, W], the pixels that count.

    Returns:
      float32 [], in nats.
    """
    logits = tf.squeeze(logits, -1)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(logits), target), logits)
    return masked_mean(losses, mask)


def semi_supervised(
    logits: tf.Tensor, discriminator_logits: tf.Tensor, valid: tf.Tensor, t_semi: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """L_semi, the cross-entropy of unlabeled images against their own prediction (equation 5).

    Only pixels in whose prediction the discriminator's confidence is above `t_semi` are selected.
    Neither the selection nor the prediction that is learned from passes a gradient.

    Args:
      logits: float32 [B, H, W, C], the segmenter's.
      discriminator_logits: float32 [B, H, W, 1], of the probabilities of `logits`.
      valid: bool [B, H, W], false where the image is padded.
      t_semi: in 0-1.

    Returns:
      the loss in nats, float32 [], 0 where nothing is selected; and the share of the valid pixels
      that is selected, float32 [].
    """
    confidence = tf.sigmoid(tf.stop_gradient(tf.squeeze(discriminator_logits, -1)))
    selected = (confidence > t_semi) & valid
    pseudo_labels = tf.where(selected, tf.argmax(logits, -1, tf.int32), VOID_LABEL)
    share = masked_mean(tf.cast(selected, tf.float32), valid)
    return cross_entropy(logits, tf.stop_gradient(pseudo_labels)), share
