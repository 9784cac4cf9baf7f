"""From an image of any size to class probabilities and confidence at that size."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_advseg.models.discriminator import confidence, judge

_WINDOW_OVERLAP = 1 / 3  # Of neighbouring sliding windows, so that no pixel is only at a border.
_BAND = 64  # Rows of a large map that are computed at a time.

_AtScale = Callable[[tf.Tensor, float], tf.Tensor | np.ndarray]


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
    seen = _scaled(images, scale)
    return tf.nn.softmax(_unscaled(segmenter(seen, training=False), images, scale))


def confidence_in(
    discriminator: keras.Model | None,
    probabilities: tf.Tensor,
    images: tf.Tensor,
    input_scale: float,
) -> tf.Tensor:
    """Returns the confidence in a prediction, float32 [B, H, W] in 0-1, as Prediction has it.

    Args:
      discriminator: as `models.discriminator.build_discriminator` returns it; or None.
      probabilities: float32 [B, H, W, C].
      images: uint8 or float32 [B, H, W, 3], RGB in 0-255.
      input_scale: the scale of what the discriminator was trained with.
    """
    if discriminator is None:
        return tf.reduce_max(probabilities, axis=-1)
    seen = (_scaled(maps, input_scale) for maps in (probabilities, images))
    logits = judge(discriminator, *seen)
    return confidence(_unscaled(logits, probabilities, input_scale))


def _scaled(maps: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Returns maps resized by a scale, float32. No operation is made for the number 1."""
    if _is_one(scale):
        return tf.cast(maps, tf.float32)
    return _resize_way(scale < 1)(maps, scaled_size(tf.shape(maps)[1:3], scale))


def _unscaled(maps: tf.Tensor, reference: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Returns maps, made of a reference that was `_scaled`, at the reference's size."""
    if _is_one(scale):
        return maps
    return _resize_way(scale > 1)(maps, tf.shape(reference)[1:3])


def _resize_way(shrinks: tf.Tensor | bool) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns what resizes: without a choice in the graph, where it is known when it is traced.

    OpenVINO computes wrong numbers where a map of unknown size goes through a condition.
    """
    if tf.is_tensor(shrinks):
        return resize
    return _shrunk if shrinks else _grown


def _is_one(scale: tf.Tensor | float) -> bool:
    return not tf.is_tensor(scale) and scale == 1


def scaled_size(size: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Returns int32 [2], height and width times `scale`, rounded, and at least 1."""
    return tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), 1)


def resize(maps: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resizes [B, h, w, C] bilinearly to float32 [B, H, W, C], smoothed where it shrinks."""
    old = tf.shape(maps)[1:3]
    maps = tf.cast(maps, tf.float32)
    resized = tf.cond(
        tf.reduce_all(old == size),
        lambda: maps,
        lambda: tf.cond(
            tf.reduce_any(size < old), lambda: _shrunk(maps, size), lambda: _grown(maps, size)
        ),
    )
    return tf.ensure_shape(resized, [None, None, None, maps.shape[-1]])


def _grown(maps: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.image.resize(maps, size), [None, None, None, maps.shape[-1]])


def _shrunk(maps: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resizes [B, h, w, C] as `tf.image.resize` with antialias does, by matrix products.

    Its own operation, ScaleAndTranslate, is one that other engines cannot read from an export.
    """
    maps = tf.cast(maps, tf.float32)
    old = tf.shape(maps)[1:3]
    # Small letters alone: there are engines that take H and h for one.
    rows = tf.einsum("ih,bhwc->biwc", _resizing_weights(old[0], size[0]), maps)
    return tf.einsum("jw,biwc->bijc", _resizing_weights(old[1], size[1]), rows)


def _resizing_weights(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """Returns the share of each old pixel in a new one, float32 [new, old]; rows add up to 1."""
    scale = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
    centers = (tf.cast(tf.range(new), tf.float32) + 0.5) * scale
    distances = tf.cast(tf.range(old), tf.float32) + 0.5 - centers[:, tf.newaxis]
    # A triangle as wide as the new pixels lie apart in the old image, and never below an old pixel.
    weights = tf.maximum(0.0, 1 - tf.abs(distances) / tf.maximum(scale, 1.0))
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def prediction_from(
    probabilities: tf.Tensor,
    images: tf.Tensor,
    discriminator: keras.Model | None,
    input_scale: float,
) -> Prediction:
    """Returns what probabilities, float32 [B, H, W, C], say; see `confidence_in` for the rest."""
    return Prediction(
        tf.argmax(probabilities, -1, tf.int32),
        probabilities,
        confidence_in(discriminator, probabilities, images, input_scale),
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
        self._scales = tuple(scale * input_scale for scale in scales)
        self._flip = flip
        self._window = sliding_window
        self._classes = segmenter.output_shape[-1]
        any_images = tf.TensorSpec([None, None, None, 3], tf.float32)
        any_scale = tf.TensorSpec([], tf.float32)
        any_maps = tf.TensorSpec([None, None, None, self._classes], tf.float32)
        # Signatures of any size, so that images of many sizes do not each trace a graph.
        self._whole = tf.function(
            functools.partial(probabilities_at_scale, segmenter),
            input_signature=[any_images, any_scale],
            autograph=False,
        )
        self._logits = tf.function(
            lambda images: segmenter(images, training=False),
            input_signature=[any_images],
            autograph=False,
        )
        self._finish = tf.function(
            lambda maps, images: prediction_from(maps, images, discriminator, input_scale),
            input_signature=[any_maps, any_images],
            autograph=False,
        )

    def __call__(self, images: tf.Tensor) -> Prediction:
        """Predicts a batch of images of one size.

        Args:
          images: uint8 or float32 [B, H, W, 3], RGB in 0-255.
        """
        images = tf.cast(images, tf.float32)
        at_scale = self._whole if self._window is None else self._in_windows
        # Made a tensor first: an array that it comes from is then freed before the last part.
        probabilities = tf.convert_to_tensor(self._average(images, at_scale))
        return self._finish(probabilities, images)

    def _average(self, images: tf.Tensor, at_scale: _AtScale) -> tf.Tensor | np.ndarray:
        """Returns the mean of at_scale(images, scale) over the views, float32 [B, H, W, C]."""
        mirrors = (False, True) if self._flip else (False,)
        views = [(scale, mirror) for scale in self._scales for mirror in mirrors]
        if len(views) == 1:
            return at_scale(images, self._scales[0])
        # One view after the other, and not all in one graph: it would run them side by side.
        total = np.zeros((*images.shape[:3], self._classes), np.float32)
        for scale, mirror in views:
            step = -1 if mirror else 1
            total += np.asarray(at_scale(images[:, :, ::step], scale))[:, :, ::step]
        total /= len(views)
        return total

    def _in_windows(self, images: tf.Tensor, scale: float) -> np.ndarray:
        """As `probabilities_at_scale`, but the segmenter sees one window at a time.

        Its features, the most of its memory, are then those of one window. Maps of the whole image
        are NumPy's, since TensorFlow does not give a large tensor's memory back. The discriminator
        sees the whole map all the same: beside ResNet-101 it does not show in the peak.

        Args:
          images: float32 [B, H, W, 3], RGB in 0-255.
          scale: of the images that the network sees.

        Returns:
          float32 [B, H, W, C].
        """
        size = tuple(images.shape[1:3])
        scaled = resize(images, scaled_size(size, scale))
        batch, height, width, _ = scaled.shape
        maps = np.zeros((batch, height, width, self._classes), np.float32)
        count = np.zeros((height, width, 1), np.float32)
        for rows in window_slices(height, self._window[0]):
            for columns in window_slices(width, self._window[1]):
                maps[:, rows, columns] += self._logits(scaled[:, rows, columns]).numpy()
                count[rows, columns] += 1
        maps /= count
        if (height, width) != size:
            maps = _resize_by_class(maps, size)
        for row in range(0, size[0], _BAND):
            rows = slice(row, row + _BAND)
            maps[:, rows] = tf.nn.softmax(maps[:, rows]).numpy()
        return maps


def _resize_by_class(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns what `resize` does of [B, h, w, C], but without a large tensor."""
    resized = np.empty((maps.shape[0], *size, maps.shape[-1]), np.float32)
    for index in range(maps.shape[-1]):
        one = slice(index, index + 1)
        resized[..., one] = resize(maps[..., one], size).numpy()
    return resized


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
