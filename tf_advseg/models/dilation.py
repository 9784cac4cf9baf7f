"""One rule that gives any convolutional classifier a finer feature map.

Each layer that would stride past the wanted output stride gets stride 1 instead, and every later
kernel is dilated by the stride that was lost, so that it meets the same pixels as before. Weights
keep their shapes, so that the strided network's load. Subsampled to the strided network's grid, the
dilated one's features are equal to it (the "a trous" algorithm of DeepLab).
"""

import math
from typing import Any

import keras

from tf_advseg.errors import InputError


def dilate(network: keras.Model, output_stride: int) -> keras.Model:
    """Returns `network` built anew, with weights of its own, at the given output stride or less.

    Args:
      network: functional, with a square static input size that its strides divide.
      output_stride: a power of 2.

    Returns:
      a functional model of the same layers, names and weight shapes; its input has any height and
      width.

    Raises:
      InputError: the network strides further with a layer that this rule cannot dilate.
    """
    input_size = network.input_shape[1]

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.InputLayer):
            return layer
        config = layer.get_config()
        stride = _stride(input_size, layer.input_shape)
        config.update(_dilated(layer, stride, output_stride))
        return layer.__class__.from_config(config)

    image = keras.Input((None, None, network.input_shape[-1]))
    return keras.models.clone_model(network, input_tensors=image, clone_function=clone)


def _stride(input_size: int, shape: Any) -> int:
    """Returns how many input pixels one step in a tensor of this shape spans."""
    height = (shape[0] if isinstance(shape, list) else shape)[1]
    # Explicit padding adds a few pixels to a map; the next power of 2 is what it was.
    return 2 ** round(math.log2(input_size / height))


def _dilated(layer: keras.layers.Layer, stride: int, output_stride: int) -> dict[str, Any]:
    """Returns what changes in the configuration of a layer whose input has this stride."""
    lost = max(1, stride // output_stride)
    own = max(getattr(layer, "strides", None) or (1,))
    past = own > 1 and stride * own > output_stride
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
        changes: dict[str, Any] = {"strides": (1, 1)} if past else {}
        if lost > 1 and max(layer.kernel_size) > 1:
            changes["dilation_rate"] = (lost, lost)
        return changes
    is_window = hasattr(layer, "kernel_size") or hasattr(layer, "pool_size")
    if past or (lost > 1 and (is_window or isinstance(layer, keras.layers.ZeroPadding2D))):
        raise InputError(
            f"layer {layer.name} cannot be dilated to output stride {output_stride}; "
            "allowed: a larger one"
        )
    return {}
