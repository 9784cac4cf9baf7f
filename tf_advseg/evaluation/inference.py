"""From an image of any size to class probabilities and confidence at that size."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

_WINDOW_OVERLAP = 1 / 3  # Of neighbouring sliding windows, so that no pixel is only at a border.


class Prediction(NamedTuple):
    """What is said of a batch of images.

    Attributes:
      class_ids: int32 [B, H, W].
      probabilities: float32 [B, H, W, C], in 0-1.
      confidence: float32 [B, H, W], in 0-1: the discriminator's that the prediction is like a true
        label (section 3.2); where there is no discriminator, the largest probability.
    """

    class_ids: tf.Tensor
    probabilities: tf.Tensor
    confidence: tf.Tensor


def probabilities_at_scale(
    segmenter: keras.Model, images: tf.Tensor, scale: tf.Tensor | float
) -> tf.Tensor:
    """Runs the segmenter on resized images, and brings its logits back to their size.

    Args:
      segmenter: images [B, h, w, 3] -> logits [B, h, w, C].
      images: uint8 or float32 [B, H, W, 3], RGB in 0-255.
      scale: of the images that the network sees.

    Returns:
      float32 [B, H, W, C].
    """
    size = tf.shape(images)[1:3]
    logits = segmenter(resize(images, scaled_size(size, scale)), training=False)
    return tf.nn.softmax(resize(logits, size))


def confidence_in(
    discriminator: keras.Model | None, probabilities: tf.Tensor, input_scale: float
) -> tf.Tensor:
    """Returns the confidence in a prediction, float32 [B, H, W] in 0-1, as Prediction has it.

    Args:
      discriminator: probabilities [B, h, w, C] -> logits [B, h, w, 1]; or None.
      probabilities: float32 [B, H, W, C].
      input_scale: the scale of the maps that the discriminator was trained with.
    """
    if discriminator is None:
        return tf.reduce_max(probabilities, axis=-1)
    size = tf.shape(probabilities)[1:3]
    logits = discriminator(resize(probabilities, scaled_size(size, input_scale)), training=False)
    return tf.sigmoid(resize(logits, size)[..., 0])


def scaled_size(size: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Returns int32 [2], height and width times `scale`, rounded, and at least 1."""
    return tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), 1)


def resize(maps: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resizes [B, h, w, C] bilinearly to float32 [B, H, W, C], smoothed where it shrinks."""
    same = tf.reduce_all(tf.shape(maps)[1:3] == size)
    maps = tf.cast(maps, tf.float32)
    resized = tf.cond(same, lambda: maps, lambda: tf.image.resize(maps, size, antialias=True))
    return tf.ensure_shape(resized, [None, None, None, maps.shape[-1]])


def prediction_from(
    probabilities: tf.Tensor, discriminator: keras.Model | None, input_scale: float
) -> Prediction:
    """Returns what probabilities, float32 [B, H, W, C], say; see `confidence_in` for the rest."""
    return Prediction(
        tf.argmax(probabilities, -1, tf.int32),
        probabilities,
        confidence_in(discriminator, probabilities, input_scale),
    )


class Predictor:
    """Predicts with a segmenter, over several scales, mirrored, or in sliding windows.

    Args:
      segmenter: images [B, h, w, 3] -> logits [B, h, w, C].
      discriminator: for the confidence; or None.
      input_scale: the scale of the images that both were trained with.
      scales: more scales, each times `input_scale`; probabilities are averaged over them.
      flip: whether to average with the prediction for the mirrored image.
      sliding_window: height and width, in pixels of the scaled image, of windows that overlap by
        a third and are averaged; None to see each image at once.
    """

    def __init__(
        self,
        segmenter: keras.Model,
        discriminator: keras.Model | None = None,
        *,
        input_scale: float = 1.0,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        sliding_window: tuple[int, int] | None = None,
    ):
        self._segmenter = segmenter
        self._discriminator = discriminator
        self._input_scale = input_scale
        self._scales = tuple(scale * input_scale for scale in scales)
        self._flip = flip
        self._window = sliding_window
        any_images = tf.TensorSpec([None, None, None, 3], tf.float32)
        classes = segmenter.output_shape[-1]
        any_maps = tf.TensorSpec([None, None, None, classes], tf.float32)
        # Signatures of any size, so that images of many sizes do not each trace a graph.
        self._whole = tf.function(self._predict_whole, input_signature=[any_images])
        self._logits = tf.function(
            lambda images: self._segmenter(images, training=False), input_signature=[any_images]
        )
        self._finish = tf.function(self._prediction, input_signature=[any_maps])

    def __call__(self, images: tf.Tensor) -> Prediction:
        """Predicts a batch of images of one size.

        Args:
          images: uint8 or float32 [B, H, W, 3], RGB in 0-255.
        """
        images = tf.cast(images, tf.float32)
        if self._window is None:
            return self._whole(images)
        return self._finish(self._average(images, self._in_windows))

    def _predict_whole(self, images: tf.Tensor) -> Prediction:
        def at_scale(images: tf.Tensor, scale: float) -> tf.Tensor:
            return probabilities_at_scale(self._segmenter, images, scale)

        return self._prediction(self._average(images, at_scale))

    def _average(self, images: tf.Tensor, predict) -> tf.Tensor:
        """Returns the mean of predict(images, scale) over the scales, and mirrored too if asked."""
        total, count = 0.0, 0
        for scale in self._scales:
            total, count = total + predict(images, scale), count + 1
            if self._flip:
                mirrored = predict(images[:, :, ::-1], scale)
                total, count = total + mirrored[:, :, ::-1], count + 1
        return total / count

    def _prediction(self, probabilities: tf.Tensor) -> Prediction:
        return prediction_from(probabilities, self._discriminator, self._input_scale)

    def _in_windows(self, images: tf.Tensor, scale: float) -> tf.Tensor:
        """As `probabilities_at_scale`, but the segmenter sees one window at a time.

        Its features, the most of its memory, are then those of one window. Sums of logits are kept
        in the host's memory. The discriminator sees the whole map all the same: it is small.
        """
        size = tf.shape(images)[1:3]
        scaled = resize(images, scaled_size(size, scale))
        batch, height, width, _ = scaled.shape
        total = np.zeros((batch, height, width, self._segmenter.output_shape[-1]), np.float32)
        count = np.zeros((height, width, 1), np.float32)
        for rows in window_slices(height, self._window[0]):
            for columns in window_slices(width, self._window[1]):
                total[:, rows, columns] += self._logits(scaled[:, rows, columns]).numpy()
                count[rows, columns] += 1
        return tf.nn.softmax(resize(total / count, size))


def window_slices(length: int, window: int) -> list[slice]:
    """Returns the windows along one axis: of equal size, evenly spread, from border to border.

    Args:
      length: of the axis, in pixels.
      window: of a window; one longer than the axis is cut to it.
    """
    window = min(window, length)
    step = max(1, round(window * (1 - _WINDOW_OVERLAP)))
    count = 1 + -(-(length - window) // step)
    starts = [round(index * (length - window) / max(1, count - 1)) for index in range(count)]
    return [slice(start, start + window) for start in starts]
