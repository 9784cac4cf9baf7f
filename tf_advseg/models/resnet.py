"""ResNet with bottleneck blocks, in the forms that its published weights have.

Layers are named as in `keras.applications`, so that its weights load by name.
"""

import keras

from tf_advseg.models.conventions import ResNetStyle
from tf_advseg.models.convolutions import SymmetricConv2D

#: PyTorch's 0.1, in Keras' terms: what both published codes train with.
_MOMENTUM = 0.9


def resnet(
    blocks: tuple[int, int, int, int], style: ResNetStyle, input_size: int, name: str
) -> keras.Model:
    """Builds a ResNet of stride 32 with random weights.

    Args:
      blocks: bottleneck blocks in each stage.
      style: the form of the weights to be loaded.
      input_size: height and width, in pixels.
      name: of the model.

    Returns:
      a functional model, normalised image [B, size, size, 3] -> features; the output of stage s,
      from 2 to 5, is the layer "conv{s}_block{n}_out" of its last block.
    """
    image = keras.Input((input_size, input_size, 3))
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = _convolution(x, 64, 7, 2, style, "conv1", padding="valid")
    x = keras.layers.ReLU(name="conv1_relu")(x)
    # Zeros are no more than what ReLU leaves. One more row and column give a window to each rest,
    # which is PyTorch's ceil_mode.
    after = 2 if style.ceil_pool else 1
    x = keras.layers.ZeroPadding2D(((1, after), (1, after)), name="pool1_pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
    for stage, count in enumerate(blocks, 2):
        for block in range(1, count + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _bottleneck(x, 64 * 2 ** (stage - 2), stride, style, f"conv{stage}_block{block}")
    return keras.Model(image, x, name=name)


def _bottleneck(x, channels: int, stride: int, style: ResNetStyle, name: str):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, a convolution where the shape changes."""
    first, second = (1, stride) if style.strides_in_3x3 else (stride, 1)
    shortcut = x
    if x.shape[-1] != 4 * channels:
        shortcut = _convolution(x, 4 * channels, 1, stride, style, f"{name}_0")
    x = _convolution(x, channels, 1, first, style, f"{name}_1")
    x = keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _convolution(x, channels, 3, second, style, f"{name}_2")
    x = keras.layers.ReLU(name=f"{name}_2_relu")(x)
    x = _convolution(x, 4 * channels, 1, 1, style, f"{name}_3")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _convolution(
    x,
    channels: int,
    kernel_size: int,
    stride: int,
    style: ResNetStyle,
    name: str,
    padding: str = "same",
):
    # TensorFlow's "same" is not symmetric where a 3x3 strides; PyTorch's padding of 1 is.
    symmetric = kernel_size > 1 and stride > 1 and padding == "same"
    layer = SymmetricConv2D if symmetric else keras.layers.Conv2D
    options = {} if symmetric else {"padding": padding}
    x = layer(channels, kernel_size, stride, use_bias=style.bias, name=f"{name}_conv", **options)(x)
    return keras.layers.BatchNormalization(
        name=f"{name}_bn", momentum=_MOMENTUM, epsilon=style.epsilon
    )(x)
