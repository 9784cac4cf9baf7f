"""Augmentation: pure functions on images and labels.

A random view of an image is one geometry - a window of whole source pixels, the size that it is
resized to, a mirror - drawn from a seed by a rule. Image, label and valid mask are each sampled by
that geometry straight from the source, so that they cannot come apart, and only the crop is ever
computed.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advseg.data import VOID_LABEL

_WINDOWS = 10
_AREA_RANGE, _ASPECT_RANGE = (0.08, 1.0), (3 / 4, 4 / 3)


class Geometry(NamedTuple):
    """Which part of an image a crop shows, and how large. Rows first; all in pixels.

    Attributes:
      corner: int32 [2], where the window starts in the source.
      window: int32 [2], its height and width, at least 1.
      size: int32 [2], height and width of the window in the crop, at least 1. What the crop has
        more, below and to the right, is padding, as in the authors' code.
      mirrored: bool [], whether the crop is mirrored, with its padding.
    """

    corner: tf.Tensor
    window: tf.Tensor
    size: tf.Tensor
    mirrored: tf.Tensor


def random_scale(
    seed: tf.Tensor,
    image_size: tf.Tensor,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float] = (0.5, 1.5),
    flip: bool = True,
) -> Geometry:
    """Draws scale and place evenly, and a mirror for half of the seeds.

    The authors' code draws one of twelve scales, 0.5 to 1.6, and a corner in the scaled image
    (dataset/voc_dataset.py). Here a window starts and ends at whole pixels of the source.

    Args:
      seed: int [2].
      image_size: int32 [2], height and width of the source, in pixels.
      crop_size: height and width of the crop, in pixels.
      scale_range: smallest and largest scale.
      flip: whether to mirror at all.

    Returns:
      a geometry that fills the crop where the scaled source is large enough; elsewhere it shows
      all of the source.
    """
    drawn = tf.random.stateless_uniform([4], seed)
    scale = _between(scale_range, drawn[0])
    scaled_size = _whole(tf.cast(image_size, tf.float32) * scale)
    size = tf.minimum(scaled_size, crop_size)
    window = tf.minimum(_whole(tf.cast(size, tf.float32) / scale), image_size)
    window = tf.where(size < scaled_size, window, image_size)
    return Geometry(_corner(image_size - window, drawn[1:3]), window, size, (drawn[3] < 0.5) & flip)


def random_area(
    seed: tf.Tensor, image_size: tf.Tensor, crop_size: tuple[int, int], flip: bool = False
) -> Geometry:
    """Draws a window of 8 to 100 % of the image's area, at an aspect of 3:4 to 4:3, or on its side.

    As the challenge entry's RandomSizedCrop (utils/transforms.py): ten windows are drawn, and the
    first that fits into the image is resized to the crop; if none does, the largest window of the
    crop's own aspect in the middle of the image.

    Args:
      seed: int [2].
      image_size: int32 [2], height and width of the source, in pixels.
      crop_size: height and width of the crop, in pixels.
      flip: whether to mirror half of the seeds.

    Returns:
      a geometry that fills the crop.
    """
    drawn = tf.random.stateless_uniform([3 * _WINDOWS + 3], seed)
    areas, aspects, sides, rest = tf.split(drawn, [_WINDOWS, _WINDOWS, _WINDOWS, 3])
    size = tf.cast(image_size, tf.float32)
    area = _between(_AREA_RANGE, areas) * tf.reduce_prod(size)
    aspect = _between(_ASPECT_RANGE, aspects)
    windows = tf.round(tf.stack([tf.sqrt(area / aspect), tf.sqrt(area * aspect)], axis=1))
    windows = tf.where(sides[:, tf.newaxis] < 0.5, windows[:, ::-1], windows)
    fits = tf.reduce_all((windows >= 1) & (windows <= size), axis=1)
    any_fits = tf.reduce_any(fits)
    largest = crop_size * tf.reduce_min(size / crop_size)
    window = _whole(tf.where(any_fits, windows[tf.argmax(fits)], largest))
    share = tf.where(any_fits, rest[:2], 0.5)
    corner = _corner(image_size - window, share)
    return Geometry(corner, window, tf.constant(crop_size), (rest[2] < 0.5) & flip)


def crop_image(
    image: tf.Tensor,
    geometry: Geometry,
    crop_size: tuple[int, int],
    padding_color: tuple[float, float, float],
) -> tf.Tensor:
    """Resizes a window of an image, bilinearly; with a wider kernel where it shrinks to under half.

    The authors' resize is plainly bilinear too (dataset/voc_dataset.py, OpenCV's INTER_LINEAR). At
    half the size and above it weighs every pixel of the source; below, it would skip some.

    Args:
      image: uint8 or float32 [H, W, 3].
      geometry: which window.
      crop_size: height and width of the crop, (h, w).
      padding_color: what lies outside of the image, RGB in 0-255.

    Returns:
      float32 [h, w, 3], in the image's range.
    """
    corner, window = (tf.concat([part, [rest]], 0) for part, rest in zip(geometry[:2], (0, 3)))
    # A resize goes faster through floats than through bytes.
    pixels = tf.cast(tf.slice(image, corner, window)[tf.newaxis], tf.float32)
    size = geometry.size
    crop = tf.cond(
        tf.reduce_all(2 * size >= geometry.window),
        lambda: tf.raw_ops.ResizeBilinear(images=pixels, size=size, half_pixel_centers=True),
        lambda: tf.image.resize(pixels, size, antialias=True),
    )[0]
    crop = tf.cond(
        tf.reduce_all(size == crop_size),
        lambda: crop,
        lambda: _padded(crop, crop_size, padding_color),
    )
    crop = tf.ensure_shape(crop, [*crop_size, 3])
    return tf.cond(geometry.mirrored, lambda: tf.reverse(crop, [1]), lambda: crop)


def crop_label(label: tf.Tensor, geometry: Geometry, crop_size: tuple[int, int]) -> tf.Tensor:
    """Resizes a window of a label: each pixel takes the nearest source pixel's class.

    Args:
      label: integers [H, W].
      geometry: which window.
      crop_size: height and width of the crop, (h, w).

    Returns:
      int32 [h, w]; VOID_LABEL outside of the source.
    """
    rows, columns = (_nearest(geometry, axis) for axis in (0, 1))
    # Mirrored by the order in which columns are taken, and padded on the other side.
    columns = tf.where(geometry.mirrored, columns[::-1], columns)
    # Rows are copied as blocks, columns pixel by pixel; turning the label twice is faster.
    crop = tf.transpose(tf.gather(tf.transpose(tf.gather(label, rows)), columns))
    below, beside = tf.unstack(crop_size - geometry.size)
    sides = tf.where(geometry.mirrored, [beside, 0], [0, beside])
    void = tf.constant(VOID_LABEL, crop.dtype)
    crop = tf.pad(crop, tf.stack([[0, below], sides]), constant_values=void)
    return tf.ensure_shape(tf.cast(crop, tf.int32), crop_size)


def crop_valid(geometry: Geometry, crop_size: tuple[int, int]) -> tf.Tensor:
    """Tells which pixels of the crop show the source.

    Args:
      geometry: which window.
      crop_size: height and width of the crop, (h, w).

    Returns:
      bool [h, w], false where the crop is padded.
    """
    row, column = (tf.range(length) for length in crop_size)
    column = tf.where(geometry.mirrored, crop_size[1] - 1 - column, column)
    return (row < geometry.size[0])[:, tf.newaxis] & (column < geometry.size[1])


def _whole(length: tf.Tensor) -> tf.Tensor:
    return tf.maximum(tf.cast(tf.round(length), tf.int32), 1)


def _between(bounds: tuple[float, float], share: tf.Tensor) -> tf.Tensor:
    low, high = bounds
    return low + (high - low) * share


def _corner(room: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Returns one of the `room` + 1 places of a window, each for an equal part of 0 to 1."""
    corner = tf.cast(share * tf.cast(room + 1, tf.float32), tf.int32)
    return tf.minimum(corner, room)  # A share just below 1 may round up.


def _nearest(geometry: Geometry, axis: int) -> tf.Tensor:
    """Returns the source row of each row of the resized window, or column of each column."""
    window, size = geometry.window[axis], geometry.size[axis]
    return geometry.corner[axis] + (2 * tf.range(size) + 1) * window // (2 * size)


def _padded(
    crop: tf.Tensor, crop_size: tuple[int, int], color: tuple[float, float, float]
) -> tf.Tensor:
    """Pads a crop below and to the right with a colour.

    Copies of a whole block are faster than a choice for each value.
    """
    height, width = tf.shape(crop)[0], tf.shape(crop)[1]
    block = tf.constant(np.full((*crop_size, 3), color, np.float32))
    wide = tf.concat([crop, block[:height, width:]], axis=1)
    return tf.concat([wide, block[height:]], axis=0)
