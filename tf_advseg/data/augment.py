"""Augmentation: pure functions on images and labels.

A random view of an image is one geometry - scale, offset, mirror - drawn from a seed by a rule.
Image, label and valid mask are each sampled by that geometry straight from the source, so that they
cannot come apart, and only the crop is ever computed.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advseg.data import VOID_LABEL

_WINDOWS = 10
_AREA_RANGE, _ASPECT_RANGE = (0.08, 1.0), (3 / 4, 4 / 3)


class Geometry(NamedTuple):
    """Where a crop lies: in the source scaled by `scale`, from `offset` on, then mirrored or not.

    Attributes:
      scale: float32 [2], of rows and of columns.
      offset: float32 [2], row and column of the crop's corner in the scaled source.
      mirrored: bool [].
    """

    scale: tf.Tensor
    offset: tf.Tensor
    mirrored: tf.Tensor


def random_scale(
    seed: tf.Tensor,
    image_size: tf.Tensor,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float] = (0.5, 1.5),
    flip: bool = True,
) -> Geometry:
    """Draws scale and offset evenly, and a mirror for half of the seeds.

    The authors' code draws one of twelve scales, 0.5 to 1.6 (dataset/voc_dataset.py).

    Args:
      seed: int [2].
      image_size: int32 [2], height and width of the source, in pixels.
      crop_size: height and width of the crop, in pixels.
      scale_range: smallest and largest scale.
      flip: whether to mirror at all.

    Returns:
      a geometry whose crop lies inside the scaled source where that is large enough; elsewhere its
      corner is the source's, and the crop is padded below and to the right, as the authors' code
      does.
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    scale = tf.random.stateless_uniform([], seeds[0], *scale_range)
    scaled_size = tf.cast(tf.round(tf.cast(image_size, tf.float32) * scale), tf.int32)
    room = tf.maximum(scaled_size - tf.constant(crop_size), 0)
    share = tf.random.stateless_uniform([2], seeds[1])
    offset = tf.cast(share * tf.cast(room + 1, tf.float32), tf.int32)
    mirrored = (tf.random.stateless_uniform([], seeds[2]) < 0.5) & flip
    offset = tf.cast(tf.minimum(offset, room), tf.float32)
    return Geometry(tf.stack([scale, scale]), offset, mirrored)


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
      a geometry whose crop lies inside of the source.
    """
    seeds = tf.random.experimental.stateless_split(seed, 5)
    size = tf.cast(image_size, tf.float32)
    area = tf.random.stateless_uniform([_WINDOWS], seeds[0], *_AREA_RANGE) * tf.reduce_prod(size)
    aspect = tf.random.stateless_uniform([_WINDOWS], seeds[1], *_ASPECT_RANGE)
    windows = tf.round(tf.stack([tf.sqrt(area / aspect), tf.sqrt(area * aspect)], axis=1))
    on_its_side = tf.random.stateless_uniform([_WINDOWS, 1], seeds[2]) < 0.5
    windows = tf.where(on_its_side, windows[:, ::-1], windows)
    fits = tf.reduce_all((windows >= 1) & (windows <= size), axis=1)
    crop = tf.constant(crop_size, tf.float32)
    largest = crop * tf.reduce_min(size / crop)
    window = tf.where(tf.reduce_any(fits), windows[tf.argmax(fits)], largest)
    share = tf.where(tf.reduce_any(fits), tf.random.stateless_uniform([2], seeds[3]), 0.5)
    room = tf.floor(size - window)
    corner = tf.minimum(tf.floor(share * (room + 1)), room)
    scale = crop / window
    mirrored = (tf.random.stateless_uniform([], seeds[4]) < 0.5) & flip
    return Geometry(scale, corner * scale, mirrored)


def crop_image(
    image: tf.Tensor,
    geometry: Geometry,
    crop_size: tuple[int, int],
    padding_color: tuple[float, float, float],
) -> tf.Tensor:
    """Samples the crop from an image, bilinearly, with a wider kernel where it shrinks.

    Args:
      image: uint8 or float32 [H, W, 3].
      geometry: which crop.
      crop_size: its height and width, (h, w).
      padding_color: what lies outside of the image, RGB in 0-255.

    Returns:
      float32 [h, w, 3], in the image's range.
    """
    rows, columns = _source_indices(tf.shape(image)[:2], geometry, crop_size)
    size = tf.stack([tf.size(rows), tf.size(columns)])
    window, corner = _window(image, geometry, size)
    crop = tf.raw_ops.ScaleAndTranslate(
        images=window[tf.newaxis],
        size=tf.maximum(size, 1),  # A crop may lie outside of a tiny image.
        scale=geometry.scale,
        translation=corner * geometry.scale - geometry.offset,
        kernel_type="triangle",
        antialias=True,
    )[0]
    crop = tf.cond(
        tf.reduce_all(size == crop_size),
        lambda: crop,
        lambda: _padded(crop[: size[0], : size[1]], crop_size, padding_color),
    )
    crop = tf.ensure_shape(crop, [*crop_size, 3])
    return tf.cond(geometry.mirrored, lambda: tf.reverse(crop, [1]), lambda: crop)


def crop_label(label: tf.Tensor, geometry: Geometry, crop_size: tuple[int, int]) -> tf.Tensor:
    """Samples the crop from a label: each pixel takes the nearest source pixel's class.

    Args:
      label: integers [H, W].
      geometry: which crop.
      crop_size: its height and width, (h, w).

    Returns:
      int32 [h, w]; VOID_LABEL outside of the source.
    """
    rows, columns = _source_indices(tf.shape(label), geometry, crop_size)
    # Mirrored by the order in which columns are taken, and padded on the other side.
    columns = tf.cond(geometry.mirrored, lambda: columns[::-1], lambda: columns)
    crop = tf.gather(tf.gather(label, rows), columns, axis=1)
    below, beside = crop_size[0] - tf.size(rows), crop_size[1] - tf.size(columns)
    sides = tf.cond(geometry.mirrored, lambda: [beside, 0], lambda: [0, beside])
    void = tf.constant(VOID_LABEL, crop.dtype)
    crop = tf.pad(crop, [[0, below], sides], constant_values=void)
    return tf.ensure_shape(tf.cast(crop, tf.int32), crop_size)


def crop_valid(image_size: tf.Tensor, geometry: Geometry, crop_size: tuple[int, int]) -> tf.Tensor:
    """Tells which pixels of the crop lie inside of the source.

    Args:
      image_size: int32 [2], height and width of the source.
      geometry: which crop.
      crop_size: its height and width, (h, w).

    Returns:
      bool [h, w], false where the crop is padded.
    """
    rows, columns = _source_indices(image_size, geometry, crop_size)
    row, column = (tf.range(length) for length in crop_size)
    column = tf.where(geometry.mirrored, crop_size[1] - 1 - column, column)
    return (row < tf.size(rows))[:, tf.newaxis] & (column < tf.size(columns))


def _source_indices(
    image_size: tf.Tensor, geometry: Geometry, crop_size: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the nearest source row of each crop row, and column of each column, before mirroring.

    Those that lie outside of the source, which are the last, are left out.
    """

    def axis(index: int) -> tf.Tensor:
        centers = tf.range(crop_size[index], dtype=tf.float32) + geometry.offset[index] + 0.5
        nearest = tf.cast(tf.floor(centers / geometry.scale[index]), tf.int32)
        return nearest[: tf.math.count_nonzero(nearest < image_size[index])]

    return axis(0), axis(1)


def _window(image: tf.Tensor, geometry: Geometry, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the part of an image that a crop of a size is made from, and its corner, float32 [2].

    A resize goes through all columns of what it is given, also those that it does not need.
    """
    reach = 1 / geometry.scale + 2  # The kernel's, with a pixel or two to spare.
    first = tf.floor(geometry.offset / geometry.scale - reach)
    end = tf.math.ceil((geometry.offset + tf.cast(size, tf.float32)) / geometry.scale + reach)
    first = tf.maximum(tf.cast(first, tf.int32), 0)
    end = tf.minimum(tf.cast(end, tf.int32), tf.shape(image)[:2])
    window = tf.slice(image, tf.concat([first, [0]], 0), tf.concat([end - first, [3]], 0))
    return window, tf.cast(first, tf.float32)


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
