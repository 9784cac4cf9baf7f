"""Backbones: networks from a normalised image to features of growing stride.

Each function here builds one and is registered in `tf_advseg.registry`. It returns the network
together with what goes with it: the colour scale of its input and the names of its feature levels.
"""

import dataclasses
from collections.abc import Callable

import keras

from tf_advseg.errors import InputError
from tf_advseg.models.conventions import BATCH_NORM_MODES, RESNET_STYLES
from tf_advseg.models.convolutions import Conv2D
from tf_advseg.models.dilation import dilate
from tf_advseg.models.layers import DilatedAveragePooling2D
from tf_advseg.models.normalization import FoldedBatchNormalization, FrozenAffineBatchNormalization
from tf_advseg.models.recompute import RecomputingNetwork
from tf_advseg.models.resnet import resnet

#: A size that every stride divides; networks are built at it to read their strides, then freed.
_BUILD_SIZE = 256

#: PyTorch's 0.1, in Keras' terms, in which its applications have 0.99.
_DENSENET_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class BackboneOptions:
    """How to build a backbone.

    Attributes:
      output_stride: input pixels for one step of its last feature grid: 8, 16 or 32.
      batch_norm: one of `conventions.BATCH_NORM_MODES`.
      style: of a ResNet, a name in `conventions.RESNET_STYLES`; any other backbone has "keras".
      recompute: whether training keeps only the blocks' inputs; see `models.recompute`.
    """

    output_stride: int = 8
    batch_norm: str = "train"
    style: str = "keras"
    recompute: bool = False


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A feature network and its input's colour scale.

    Attributes:
      network: functional model, normalised image [B, H, W, 3] -> dict of levels: "stage2" (stride
        4), "stage3" (8), "stage4" (16) and "stage5" (32), each [B, h, w, C]; strides past the
        output stride are dilated instead.
      normalization: a name in `conventions.NORMALIZATIONS`: what its weights were trained with.
    """

    network: keras.Model
    normalization: str


def resnet50(options: BackboneOptions) -> Backbone:
    """ResNet-50."""
    return _resnet("resnet50", (3, 4, 6, 3), options)


def resnet101(options: BackboneOptions) -> Backbone:
    """ResNet-101, the paper's backbone (section 4.1)."""
    return _resnet("resnet101", (3, 4, 23, 3), options)


def _resnet(name: str, blocks: tuple[int, int, int, int], options: BackboneOptions) -> Backbone:
    style = RESNET_STYLES[options.style]
    levels = {
        f"stage{stage}": f"conv{stage}_block{count}_out" for stage, count in enumerate(blocks, 2)
    }
    network = resnet(blocks, style, _BUILD_SIZE, name)
    return Backbone(_features(network, levels, options), style.normalization)


def densenet121(options: BackboneOptions) -> Backbone:
    """DenseNet-121 (Huang et al. 2017, https://arxiv.org/abs/1608.06993)."""
    return _densenet("densenet121", keras.applications.DenseNet121, options)


def densenet169(options: BackboneOptions) -> Backbone:
    """DenseNet-169."""
    return _densenet("densenet169", keras.applications.DenseNet169, options)


def _densenet(
    name: str, application: Callable[..., keras.Model], options: BackboneOptions
) -> Backbone:
    """Keras' DenseNet, whose pools keep the last row and column of a map of odd size.

    Keras drops them ("valid" pools), so that a map of one pixel vanishes. At sizes that 32 divides
    there is no difference.
    """
    _require_keras_style(name, options)

    def adapt(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _DENSENET_MOMENTUM
        elif isinstance(layer, (keras.layers.AveragePooling2D, DilatedAveragePooling2D)):
            layer.padding = "same"
        return layer

    # A block's output has neither been normalised nor rectified as a whole: that is done first in
    # the transition after it, named "pool...", and by "relu" after the last one. The levels are
    # those of qubvel's segmentation_models, in Keras and in PyTorch.
    levels = {f"stage{stage}": f"pool{stage}_relu" for stage in (2, 3, 4)} | {"stage5": "relu"}
    network = application(
        include_top=False, weights=None, input_shape=(_BUILD_SIZE, _BUILD_SIZE, 3)
    )
    return Backbone(_features(network, levels, options, adapt), "imagenet")


def small(options: BackboneOptions) -> Backbone:
    """A residual network of about 2 M parameters that trains from scratch on a CPU."""
    _require_keras_style("small", options)
    image = keras.Input((_BUILD_SIZE, _BUILD_SIZE, 3))
    x = _convolution(image, 32, 2, "stem")
    x = _residual_block(x, 48, 2, "stage2_block1")
    for stage, channels in ((3, 96), (4, 128), (5, 192)):
        x = _residual_block(x, channels, 2, f"stage{stage}_block1")
        x = _residual_block(x, channels, 1, f"stage{stage}_block2")
    levels = {"stage2": "stage2_block1_out"}
    levels |= {f"stage{stage}": f"stage{stage}_block2_out" for stage in (3, 4, 5)}
    network = keras.Model(image, x, name="small")
    return Backbone(_features(network, levels, options), "imagenet")


def _require_keras_style(name: str, options: BackboneOptions) -> None:
    """Raises InputError for a style that only a ResNet has."""
    if options.style != "keras":
        raise InputError(f"{name} has no style {options.style!r}; allowed: keras, or a ResNet")


def _features(
    network: keras.Model,
    levels: dict[str, str],
    options: BackboneOptions,
    adapt: Callable[[keras.layers.Layer], keras.layers.Layer] = lambda layer: layer,
) -> keras.Model:
    """Returns the network, dilated, with the outputs of the layers that `levels` names.

    `adapt` is what else the backbone changes in its layers, as in `dilate`.
    """
    if options.batch_norm not in BATCH_NORM_MODES:
        known = ", ".join(BATCH_NORM_MODES)
        raise ValueError(f"batch_norm is {options.batch_norm!r}; allowed: {known}")

    norms = {
        "train": keras.layers.BatchNormalization,
        "frozen": FoldedBatchNormalization,
        "frozen_affine": FrozenAffineBatchNormalization,
    }
    convolution_before, convolutions = _convolution_before(network), {}

    def adapt_all(layer: keras.layers.Layer) -> keras.layers.Layer:
        layer = adapt(layer)
        if isinstance(layer, Conv2D):
            convolutions[layer.name] = layer
        if not isinstance(layer, keras.layers.BatchNormalization):
            return layer
        norm = norms[options.batch_norm].from_config(layer.get_config())
        if options.batch_norm == "frozen" and norm.name in convolution_before:
            convolutions[convolution_before[norm.name]].fold(norm)
        return norm

    dilated = dilate(network, options.output_stride, adapt_all)
    outputs = {level: dilated.get_layer(name).output for level, name in levels.items()}
    kind = RecomputingNetwork if options.recompute else keras.Model
    return kind(dilated.input, outputs, name=network.name)


def _convolution_before(network: keras.Model) -> dict[str, str]:
    """Returns, by the name of each batch norm, the convolution whose output goes there alone."""
    found = {}
    for layer in network.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        (source,) = layer.inbound_nodes[0].parent_nodes
        if isinstance(source.layer, keras.layers.Conv2D) and len(source.layer.outbound_nodes) == 1:
            found[layer.name] = source.layer.name
    return found


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
