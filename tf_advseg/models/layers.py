"""Layers that Keras does not have."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tf_advseg")
class Normalize(keras.layers.Layer):
    """Brings images to the colour scale that a backbone was trained with, in float32.

    Input: [B, H, W, 3], RGB in 0-255. Output: float32 [B, H, W, 3].

    Args:
      mean: subtracted, RGB in 0-255.
      std: divided by, RGB in 0-255.
      bgr: whether the channels are reversed afterwards.
    """

    def __init__(
        self,
        mean: tuple[float, float, float],
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
        bgr: bool = False,
        **kwargs: Any,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.mean, self.std, self.bgr = tuple(mean), tuple(std), bgr

    def call(self, images: tf.Tensor) -> tf.Tensor:
        normalized = (tf.cast(images, tf.float32) - self.mean) / self.std
        return normalized[..., ::-1] if self.bgr else normalized

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, "mean": self.mean, "std": self.std, "bgr": self.bgr}


@keras.saving.register_keras_serializable("tf_advseg")
class ResizeLike(keras.layers.Layer):
    """Resizes a map bilinearly to the height and width of another, in float32.

    Input: (map [B, h, w, C], reference [B, H, W, D]). Output: float32 [B, H, W, C].
    Pixel centers are half-integers, as in `tf.image.resize`. The authors' PyTorch 0.2 aligned the
    corners instead.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        small, reference = inputs
        return tf.image.resize(tf.cast(small, tf.float32), tf.shape(reference)[1:3])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        small, reference = input_shape
        return (*reference[:3], small[3])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return config
