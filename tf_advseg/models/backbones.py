"""Backbones: networks from a normalised image to features of growing stride.

Each function here builds one and is registered in `tf_advseg.registry`. It returns the network
together with what goes with it: the colour scale of its input and the names of its feature levels.
"""

import dataclasses

import keras

from tf_advseg.models.dilation import dilate

#: What Keras' and Caffe's ImageNet weights were trained with: BGR, mean subtracted, 0-255.
_CAFFE_MEAN = (123.68, 116.779, 103.939)
#: torchvision's ImageNet statistics, in 0-255.
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)

#: A size that every stride divides; networks are built at it to read their strides, then freed.
_BUILD_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A feature network and its input's colour scale.

    Attributes:
      network: functional model, normalised image [B, H, W, 3] -> dict of levels: "stage2" (stride
        4), "stage3" (8), "stage4" (16) and "stage5" (32), each [B, h, w, C]; strides past the
        output stride are dilated instead.
      normalize: arguments of the Normalize layer before it.
    """

    network: keras.Model
    normalize: dict


def resnet50(output_stride: int) -> Backbone:
    """ResNet-50 in Keras' form: its ImageNet weights load unchanged."""
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(_BUILD_SIZE, _BUILD_SIZE, 3)
    )
    return _keras_resnet(network, output_stride, (3, 4, 6, 3))


def resnet101(output_stride: int) -> Backbone:
    """ResNet-101 in Keras' form, the paper's backbone (section 4.1)."""
    network = keras.applications.ResNet101(
        include_top=False, weights=None, input_shape=(_BUILD_SIZE, _BUILD_SIZE, 3)
    )
    return _keras_resnet(network, output_stride, (3, 4, 23, 3))


def _keras_resnet(
    network: keras.Model, output_stride: int, blocks: tuple[int, int, int, int]
) -> Backbone:
    levels = {
        f"stage{stage}": f"conv{stage}_block{count}_out" for stage, count in enumerate(blocks, 2)
    }
    return _backbone(network, levels, output_stride, {"mean": _CAFFE_MEAN, "bgr": True})


def small(output_stride: int) -> Backbone:
    """A residual network of about 2 M parameters that trains from scratch on a CPU."""
    image = keras.Input((_BUILD_SIZE, _BUILD_SIZE, 3))
    x = _convolution(image, 32, 2, "stem")
    x = _residual_block(x, 48, 2, "stage2_block1")
    for stage, channels in ((3, 96), (4, 128), (5, 192)):
        x = _residual_block(x, channels, 2, f"stage{stage}_block1")
        x = _residual_block(x, channels, 1, f"stage{stage}_block2")
    levels = {"stage2": "stage2_block1_out"}
    levels |= {f"stage{stage}": f"stage{stage}_block2_out" for stage in (3, 4, 5)}
    normalize = {"mean": _IMAGENET_MEAN, "std": _IMAGENET_STD}
    return _backbone(keras.Model(image, x, name="small"), levels, output_stride, normalize)


def _backbone(
    network: keras.Model, levels: dict[str, str], output_stride: int, normalize: dict
) -> Backbone:
    dilated = dilate(network, output_stride)
    outputs = {level: dilated.get_layer(name).output for level, name in levels.items()}
    return Backbone(keras.Model(dilated.input, outputs, name=network.name), normalize)


def _convolution(x, channels: int, strides: int, name: str, relu: bool = True):
    x = keras.layers.Conv2D(
        channels,
        3,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(name=f"{name}_bn", momentum=0.97)(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _residual_block(x, channels: int, strides: int, name: str):
    """Two 3x3 convolutions beside a shortcut: a 1x1 convolution where the shape changes."""
    shortcut = x
    if strides > 1 or x.shape[-1] != channels:
        shortcut = keras.layers.Conv2D(
            channels,
            1,
            strides,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_0_conv",
        )(x)
        shortcut = keras.layers.BatchNormalization(name=f"{name}_0_bn", momentum=0.97)(shortcut)
    x = _convolution(x, channels, strides, f"{name}_1")
    x = _convolution(x, channels, 1, f"{name}_2", relu=False)
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)
