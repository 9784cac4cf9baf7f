"""What an image costs in a network, forward, by the shapes of its layers.

A convolution of k x k over C channels costs 2 k^2 C operations (a multiplication and an addition)
for each output value; nothing else is counted. Layers that are no convolution wait for memory: each
reads its inputs and writes its output.

Gradients need a convolution's input, a batch norm's input, a ReLU's output, and a pool's both; a
tensor that two layers need is kept once.
"""

import dataclasses
import functools
from collections.abc import Iterator

import keras

from tf_advseg import registry
from tf_advseg.models.discriminator import build_discriminator
from tf_advseg.models.recompute import RecomputingNetwork
from tf_advseg.models.segmenter import build_segmenter

_KEEP_INPUT = (
    keras.layers.Conv2D,
    keras.layers.BatchNormalization,
    keras.layers.MaxPooling2D,
    keras.layers.LeakyReLU,
)
_KEEP_OUTPUT = (keras.layers.ReLU, keras.layers.MaxPooling2D)


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """A layer at one size of image.

    Attributes:
      name: of the layer.
      operations: of its convolution for one image, forward; 0 if it is none.
      moved: values that it reads and writes for one image, forward; 0 for a convolution.
      largest: values of its largest output for one image.
      kept: values by tensor, of those that its gradient needs.
      outputs: values by tensor, of those that it makes.
    """

    name: str
    operations: int
    moved: int
    largest: int
    kept: dict[int, int]
    outputs: dict[int, int]


@dataclasses.dataclass(frozen=True)
class NetworkCost:
    """A network at one size of image: what one image, or one map, costs forward.

    Attributes:
      operations: of all convolutions.
      first: of the first one.
      recomputed: of those that --recompute computes again.
      moved: values that other layers read and write.
      kept: values that gradients need.
      kept_outputs: the same with --recompute.
      largest_segment: values that gradients need inside of the largest part that is recomputed.
      largest_map: values of the largest output of a layer.
      weights: trainable or not.
    """

    operations: int
    first: int
    recomputed: int
    moved: int
    kept: int
    kept_outputs: int
    largest_segment: int
    largest_map: int
    weights: int


def layer_costs(network: keras.Model, shape: tuple[int, int, int]) -> Iterator[LayerCost]:
    """Yields the layers of a functional network, those of networks inside of it included.

    Args:
      network: of any input size.
      shape: height, width and channels of the image.
    """
    inputs = keras.Input(shape, 1)
    # The same layers, called once more with an input whose size is known.
    at_size = keras.models.clone_model(network, inputs, clone_function=lambda layer: layer)
    for layer in at_size.layers:
        if isinstance(layer, keras.Model):
            yield from layer_costs(layer, _shapes(layer.inbound_nodes[-1].input_tensors)[0][1:])
        elif layer.inbound_nodes and not isinstance(layer, keras.layers.InputLayer):
            yield _layer_cost(layer)


def _layer_cost(layer: keras.layers.Layer) -> LayerCost:
    node = layer.inbound_nodes[-1]
    inputs, outputs = _flat(node.input_tensors), _flat(node.outputs)
    values = sum(_values(tensor) for tensor in outputs)
    kept = []
    # What comes out of a network inside of another is kept there.
    inside = any(isinstance(parent.layer, keras.Model) for parent in node.parent_nodes)
    if isinstance(layer, _KEEP_INPUT) and not inside:
        kept += inputs
    if isinstance(layer, _KEEP_OUTPUT):
        kept += outputs
    is_convolution = isinstance(layer, keras.layers.Conv2D)
    taps = layer.kernel_size[0] * layer.kernel_size[1] if is_convolution else 0
    return LayerCost(
        layer.name,
        2 * taps * inputs[0].shape[-1] * values,
        0 if is_convolution else values + sum(_values(tensor) for tensor in inputs),
        max(_values(tensor) for tensor in outputs),
        {id(tensor): _values(tensor) for tensor in kept},
        {id(tensor): _values(tensor) for tensor in outputs},
    )


def _flat(tensors) -> list:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _shapes(tensors) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in _flat(tensors)]


def _values(tensor) -> int:
    """Returns the number of values of a tensor for one image."""
    return functools.reduce(int.__mul__, tensor.shape[1:], 1)


def network_cost(network: keras.Model, shape: tuple[int, int, int]) -> NetworkCost:
    """Returns what one image of a shape, height, width and channels, costs in a network."""
    layers = list(layer_costs(network, shape))
    segments, outside = _segments(layers, _ends(network))
    kept, kept_outputs = _merged(layers), _merged(outside)
    for segment in segments:
        kept_outputs |= segment[-1].outputs
    inside = [sum(_merged(segment).values()) for segment in segments]
    return NetworkCost(
        sum(layer.operations for layer in layers),
        next(layer.operations for layer in layers if layer.operations),
        sum(layer.operations for segment in segments for layer in segment),
        sum(layer.moved for layer in layers),
        sum(kept.values()),
        sum(kept_outputs.values()),
        max(inside, default=0),
        max(layer.largest for layer in layers),
        network.count_params(),
    )


def _ends(network: keras.Model) -> tuple[str, ...]:
    """Returns the layers whose outputs are kept with --recompute; none if it is not on."""
    found = (part.kept for part in network.layers if isinstance(part, RecomputingNetwork))
    return next(found, ())


def _segments(
    layers: list[LayerCost], ends: tuple[str, ...]
) -> tuple[list[list[LayerCost]], list[LayerCost]]:
    """Returns the layers of each part that is recomputed, and those behind the last."""
    segments, rest = [], layers
    for end in ends:
        count = 1 + [layer.name for layer in rest].index(end)
        segments.append(rest[:count])
        rest = rest[count:]
    return segments, rest


def _merged(layers: list[LayerCost]) -> dict[int, int]:
    return functools.reduce(dict.__or__, (layer.kept for layer in layers), {})


@functools.cache
def segmenter_cost(
    backbone: str, size: tuple[int, int], num_classes: int, output_stride: int
) -> NetworkCost:
    """Returns the cost of the segmenter of the preset `paper`, or of that with another backbone."""
    return network_cost(_segmenter(backbone, num_classes, output_stride), (*size, 3))


@functools.cache
def _segmenter(backbone: str, num_classes: int, output_stride: int) -> keras.Model:
    return build_segmenter(
        backbone,
        num_classes=num_classes,
        output_stride=output_stride,
        batch_norm="frozen_affine",
        backbone_style="deeplab" if backbone in registry.STYLED else "keras",
        recompute=True,
    )


@functools.cache
def discriminator_cost(size: tuple[int, int], num_classes: int) -> NetworkCost:
    """Returns the cost of the paper's discriminator."""
    return network_cost(build_discriminator(num_classes, padding="one"), (*size, num_classes))
