"""CutMix (Yun et al., arXiv 1905.04899): a part of each image of a batch comes from another one."""

import tensorflow as tf


def mixed(tensor: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Puts a part of its neighbour into each image, or into a map of it.

    Neighbours are 0 and 1, 2 and 3, and so on; a last one without a neighbour stays as it is. So
    batches that are parted among replicas in even pieces are mixed as one is.

    Args:
      tensor: [B, H, W] or [B, H, W, C], of any dtype.
      boxes: bool [B, H, W], the part of each that comes from its neighbour.

    Returns:
      a tensor of the same shape and dtype.
    """
    index = tf.range(tf.shape(tensor)[0])
    neighbor = tf.bitwise.bitwise_xor(index, 1)
    neighbor = tf.where(neighbor < tf.size(index), neighbor, index)
    if tensor.shape.rank == 4:
        boxes = boxes[..., tf.newaxis]
    return tf.where(boxes, tf.gather(tensor, neighbor), tensor)
