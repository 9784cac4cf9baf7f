"""Augmentation: pure functions on images and labels.

A random view of an image is one geometry - scale, offset, mirror - drawn from a seed by a rule.
Image, label and valid mask are each sampled by that geometry straight from the source, so that they
cannot come apart, and only the crop is ever computed.
"""

from typing import NamedTuple

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
    crop = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=tf.constant(crop_size),
        scale=geometry.scale,
        translation=-geometry.offset,
        kernel_type="triangle",
        antialias=True,
    )[0]
    rows, columns = _source_indices(tf.shape(image)[:2], geometry, crop_size)
    inside = (rows >= 0)[:, tf.newaxis] & (columns >= 0)
    crop = tf.where(inside[..., tf.newaxis], crop, tf.constant(padding_color))
    return _mirror(tf.ensure_shape(crop, [*crop_size, 3]), geometry)


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
    crop = tf.gather(tf.gather(label, tf.maximum(rows, 0)), tf.maximum(columns, 0), axis=1)
    inside = (rows >= 0)[:, tf.newaxis] & (columns >= 0)
    return _mirror(tf.where(inside, tf.cast(crop, tf.int32), VOID_LABEL), geometry)


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
    return _mirror((rows >= 0)[:, tf.newaxis] & (columns >= 0), geometry)


def _source_indices(
    image_size: tf.Tensor, geometry: Geometry, crop_size: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the nearest source row of each crop row, and column of each column; -1 outside."""

    def axis(index: int) -> tf.Tensor:
        centers = tf.range(crop_size[index], dtype=tf.float32) + geometry.offset[index] + 0.5
        source = centers / geometry.scale[index]
        nearest = tf.cast(tf.floor(source), tf.int32)
        return tf.where(nearest < image_size[index], nearest, -1)

    return axis(0), axis(1)


def _mirror(crop: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    return tf.cond(geometry.mirrored, lambda: crop[:, ::-1], lambda: crop)
