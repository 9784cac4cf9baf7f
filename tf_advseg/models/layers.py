"""Layers that Keras does not have."""

from typing import Any

import keras
import tensorflow as tf

from tf_advseg.models.conventions import NORMALIZATIONS


@keras.saving.register_keras_serializable("tf_advseg")
class Normalize(keras.layers.Layer):
    """Brings images to the colour scale that a backbone was trained with, in float32.

    Input: [B, H, W, 3], RGB in 0-255. Output: float32 [B, H, W, 3].

    Args:
      convention: a name in `conventions.NORMALIZATIONS`.
    """

    def __init__(self, convention: str, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.convention = convention
        self.mean = NORMALIZATIONS[convention].mean

    def call(self, images: tf.Tensor) -> tf.Tensor:
        scale = NORMALIZATIONS[self.convention]
        normalized = (tf.cast(images, tf.float32) - scale.mean) / scale.std
        return normalized[..., ::-1] if scale.bgr else normalized

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, "convention": self.convention}


@keras.saving.register_keras_serializable("tf_advseg")
class ResizeLike(keras.layers.Layer):
    """Resizes a map bilinearly to the height and width of another, in float32.

    Input: (map [B, h, w, C], reference [B, H, W, D]). Output: float32 [B, H, W, C].

    Args:
      align_corners: whether the corner pixels' centers meet, as in PyTorch 0.2, which the authors
        used; otherwise the corners of the maps do, as in `tf.image.resize` and PyTorch since 0.4.
    """

    def __init__(self, align_corners: bool = False, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.align_corners = align_corners

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        small, reference = inputs
        small, size = tf.cast(small, tf.float32), tf.shape(reference)[1:3]
        if not self.align_corners:
            return tf.image.resize(small, size)
        return tf.raw_ops.ResizeBilinear(images=small, size=size, align_corners=True)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        small, reference = input_shape
        return (*reference[:3], small[3])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, "align_corners": self.align_corners}


@keras.saving.register_keras_serializable("tf_advseg")
class LogOdds(keras.layers.Layer):
    """The log odds of the largest probability of each pixel, in float32.

    Input: class probabilities [B, H, W, C]. Output: float32 [B, H, W, 1], finite also where a
    probability is 0 or 1.
    """

    _LEAST = 1e-4  # So far may a probability come to 0 or 1: log odds of 9.2.

    def __init__(self, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)

    def call(self, probabilities: tf.Tensor) -> tf.Tensor:
        largest = tf.reduce_max(probabilities, axis=-1, keepdims=True)
        largest = tf.clip_by_value(largest, self._LEAST, 1 - self._LEAST)
        # Not log1p, which is the same to 5e-7 here: ONNX has no such operation.
        return tf.math.log(largest) - tf.math.log(1 - largest)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return config


@keras.saving.register_keras_serializable("tf_advseg")
class DilatedAveragePooling2D(keras.layers.Layer):
    """Average pooling of stride 1 over pixels that lie `dilation_rate` apart.

    Keras' average pooling has no dilation, and `tf.nn.pool` averages its zero padding in. Here, as
    in `keras.layers.AveragePooling2D`, the mean is over those pixels of a window that exist.

    Input: [B, H, W, C], of any float dtype. Output: the same dtype, [B, H, W, C] with padding
    "same"; "valid" takes (pool_size - 1) * dilation_rate from height and width.

    Args:
      pool_size: height and width of the window, in pixels that count.
      dilation_rate: distance of two such pixels.
      padding: "same" puts pixel (size - 1) // 2 of a window on the output's pixel, as TensorFlow
        does at stride 1, and at stride 2 where the size is even or the map's length odd.
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int],
        dilation_rate: int | tuple[int, int],
        padding: str = "same",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pool_size = _pair(pool_size)
        self.dilation_rate = _pair(dilation_rate)
        self.padding = padding

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        for axis, size, dilation in zip((1, 2), self.pool_size, self.dilation_rate, strict=True):
            line = [slice(1)] * 4
            line[axis] = slice(None)
            ones = tf.ones_like(inputs[tuple(line)])
            count = self._sum(ones, axis, size, dilation)
            inputs = self._sum(inputs, axis, size, dilation) / count
        return inputs

    def _sum(self, inputs: tf.Tensor, axis: int, size: int, dilation: int) -> tf.Tensor:
        """Sums the window's pixels along one axis; those outside of the map are zero."""
        extent = (size - 1) * dilation
        if self.padding == "same":
            before = (size - 1) // 2 * dilation
            padding = [[0, 0]] * 4
            padding[axis] = [before, extent - before]
            inputs = tf.pad(inputs, padding)
        # A sum of shifted maps is faster, above all in the gradient, than a depthwise convolution.
        shifted = [
            inputs[(slice(None),) * axis + (slice(first, first - extent or None),)]
            for first in range(0, extent + 1, dilation)
        ]
        return tf.add_n(shifted)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "dilation_rate": self.dilation_rate,
            "padding": self.padding,
        }


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


@keras.saving.register_keras_serializable("tf_advseg")
class AdaptiveAveragePooling2D(keras.layers.Layer):
    """Averages a map of any size over a grid of bins, in float32, as PyTorch's AdaptiveAvgPool2d.

    Bin i of b covers the pixels from floor(i * n / b) to ceil((i + 1) * n / b) - 1 of n: bins
    overlap where b does not divide n, and repeat pixels where b is larger. (The layer of this name
    in TensorFlow Addons fails there.)

    Input: [B, H, W, C], H and W at least 1. Output: float32 [B, bins, bins, C].

    Args:
      bins: bins along the height, and along the width.
    """

    def __init__(self, bins: int, **kwargs: Any):
        # A mean over many pixels is not for 8 bits of precision.
        super().__init__(dtype="float32", **kwargs)
        self.bins = bins

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(inputs)
        height, width, channels = shape[1], shape[2], inputs.shape[3]
        # Without a transposition: [bins, H] x [B, H, W C], then [bins, W] x [B, bins, W, C].
        rows = tf.reshape(tf.cast(inputs, tf.float32), (-1, height, width * channels))
        rows = tf.matmul(self._weights(height), rows)
        rows = tf.reshape(rows, (-1, self.bins, width, channels))
        bins = tf.matmul(self._weights(width), rows)
        return tf.ensure_shape(bins, (None, self.bins, self.bins, channels))

    def _weights(self, length: tf.Tensor) -> tf.Tensor:
        """Returns [bins, length]: how much each pixel of a line counts in each bin."""
        index = tf.range(self.bins)[:, tf.newaxis]
        first = index * length // self.bins
        end = -((index + 1) * length // -self.bins)  # Rounded up.
        pixel = tf.range(length)
        inside = tf.cast((pixel >= first) & (pixel < end), tf.float32)
        return inside / tf.cast(end - first, tf.float32)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.bins, self.bins, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, "bins": self.bins}
