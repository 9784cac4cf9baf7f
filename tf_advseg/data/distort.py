"""A harder view of an image for the segmenter to agree on with its teacher.

Pure functions of an image or a size, and a seed, as in `augment`. They move no pixel, so that what
is said of the image holds for its distorted view.
"""

import tensorflow as tf

from tf_advseg.addons import addons

_MAX = 255.0
# At strength 1, as the strong views of UniMatch (Yang et al., arXiv 2208.09910) and others.
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = 0.5, 0.5, 0.5, 0.25
_GREY_SHARE = 0.2
_BLUR_SHARE, _BLURS, _BLUR_SIZE = 0.5, (0.5, 1.0, 1.5), 7  # Deviations and window, in pixels.
_MIXED_SHARE = 0.5


def distort(image: tf.Tensor, seed: tf.Tensor, strength: float) -> tf.Tensor:
    """Changes an image's light and colours, and blurs half of the seeds.

    Args:
      image: float32 [H, W, 3], RGB in 0-255.
      seed: int [2].
      strength: of the change of colours, from 0, for none, to 1.

    Returns:
      float32 [H, W, 3], RGB in 0-255.
    """
    drawn = tf.random.stateless_uniform([6], seed)
    brightness, contrast, saturation, hue, grey, blur = tf.unstack(drawn)
    image = image / _MAX * _around_1(brightness, _BRIGHTNESS * strength)
    mean = tf.reduce_mean(tf.image.rgb_to_grayscale(image))
    image = mean + (image - mean) * _around_1(contrast, _CONTRAST * strength)
    image = tf.clip_by_value(image, 0.0, 1.0)
    image = tf.image.adjust_saturation(image, _around_1(saturation, _SATURATION * strength))
    image = tf.image.adjust_hue(image, (2 * hue - 1) * _HUE * strength)
    grey_image = tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))
    image = tf.where(grey < _GREY_SHARE * strength, grey_image, image)
    return tf.clip_by_value(_blurred(image, blur), 0.0, 1.0) * _MAX


def _around_1(share: tf.Tensor, width: float) -> tf.Tensor:
    return 1 + (2 * share - 1) * width


def _blurred(image: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Blurs by one of some widths where `share`, in 0-1, is below that of images to be blurred."""
    gaussian = addons().image.gaussian_filter2d
    window = [_BLUR_SIZE, _BLUR_SIZE]
    # The filter takes no tensor as its width.
    ways = [lambda width=width: gaussian(image, window, width) for width in _BLURS]
    chosen = tf.cast(share / _BLUR_SHARE * len(ways), tf.int32)
    return tf.switch_case(chosen, [*ways, lambda: image])


def box(seed: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Draws the part of an image that CutMix takes from another one.

    A box of half of the area, at any aspect and place (French et al., arXiv 1906.01916).

    Args:
      seed: int [2].
      size: height and width, in pixels.

    Returns:
      bool [H, W], true in the box.
    """
    drawn = tf.random.stateless_uniform([3], seed)
    height_share = _MIXED_SHARE ** drawn[0]
    shares = tf.stack([height_share, _MIXED_SHARE / height_share])
    lengths = tf.cast(tf.round(shares * size), tf.int32)
    first = tf.cast(drawn[1:] * tf.cast(size - lengths + 1, tf.float32), tf.int32)
    row, column = (
        (tf.range(size[axis]) >= first[axis]) & (tf.range(size[axis]) < first[axis] + lengths[axis])
        for axis in (0, 1)
    )
    return row[:, tf.newaxis] & column
