"""One rule that gives any convolutional classifier a finer feature map.

Each layer that would stride past the wanted output stride gets stride 1 instead, and every later
kernel and averaging window is dilated by the stride that was lost, so that it meets the same pixels
as before. Weights keep their shapes, so that the strided network's load. Subsampled to the strided
network's grid, the dilated one's features are equal to it (the "a trous" algorithm of DeepLab).
"""

import math
from collections.abc import Callable
from typing import Any

import keras

from tf_advseg.errors import InputError
from tf_advseg.models.convolutions import Conv2D
from tf_advseg.models.layers import DilatedAveragePooling2D


def dilate(
    network: keras.Model,
    output_stride: int,
    adapt: Callable[[keras.layers.Layer], keras.layers.Layer] = lambda layer: layer,
) -> keras.Model:
    """Returns `network` built anew, with weights of its own, at the given output stride or less.

    Args:
      network: functional, with a square static input size that its strides divide.
      output_stride: a power of 2.
      adapt: is given each layer, dilated, before it is built, and returns it or another in its
        place.

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
        return adapt(_dilated(layer, _stride(input_size, layer.input_shape), output_stride))

    image = keras.Input((None, None, network.input_shape[-1]))
    return keras.models.clone_model(network, input_tensors=image, clone_function=clone)


def _stride(input_size: int, shape: Any) -> int:
    """Returns how many input pixels one step in a tensor of this shape spans."""
    height = (shape[0] if isinstance(shape, list) else shape)[1]
    # Explicit padding adds a few pixels to a map; the next power of 2 is what it was.
    return 2 ** round(math.log2(input_size / height))


def _dilated(layer: keras.layers.Layer, stride: int, output_stride: int) -> keras.layers.Layer:
    """Returns a new layer in place of one whose input has this stride."""
    config = layer.get_config()
    lost = max(1, stride // output_stride)
    own = max(getattr(layer, "strides", None) or (1,))
    past = own > 1 and stride * own > output_stride
    convolves = isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
    # Keras derives the transposed convolution from the other; its strides make a map larger.
    if convolves and not isinstance(layer, keras.layers.Conv2DTranspose):
        if past:
            config["strides"] = (1, 1)
        if lost > 1 and max(layer.kernel_size) > 1:
            config["dilation_rate"] = (lost, lost)
    elif isinstance(layer, keras.layers.AveragePooling2D) and (past or lost > 1):
        # Keras' own pooling has no dilation.
        return DilatedAveragePooling2D(
            layer.pool_size, lost, layer.padding, name=layer.name, dtype=config["dtype"]
        )
    elif past or (lost > 1 and _has_extent(layer)):
        raise InputError(
            f"layer {layer.name} cannot be dilated to output stride {output_stride}; "
            "allowed: a larger one"
        )
    kind = Conv2D if type(layer) is keras.layers.Conv2D else type(layer)
    return kind.from_config(config)


def _has_extent(layer: keras.layers.Layer) -> bool:
    """Whether a layer counts in pixels, so that it means another one on a finer grid."""
    is_window = hasattr(layer, "kernel_size") or hasattr(layer, "pool_size")
    return is_window or isinstance(layer, keras.layers.ZeroPadding2D)
