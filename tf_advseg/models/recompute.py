"""Recomputation of activations: less memory for one more forward pass.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", https://arxiv.org/abs/1604.06174:
of n blocks, every sqrt(n)-th one's output is kept, and sqrt(n) blocks at a time are computed again.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

_Segment = tuple[str, Callable[[tf.Tensor], tf.Tensor]]


class RecomputingNetwork(keras.Model):
    """A functional network that keeps only a few activations for the backward pass.

    What lies in between is computed again when its gradient is taken. Outputs, gradients and
    running statistics are those of the network without it. Layers, weights and their names too.

    Args:
      inputs: the network's input.
      outputs: its outputs by name.
      name: of the model.

    Attributes:
      kept: the names of the layers whose outputs are kept, in order.
    """

    def __init__(self, inputs: tf.Tensor, outputs: dict[str, tf.Tensor], name: str):
        super().__init__(inputs, outputs, name=name)
        levels = {name: tensor.node.layer.name for name, tensor in outputs.items()}
        self.kept = tuple(segment_ends(self, [*levels.values()]))
        segments = _segments(self, self.kept)
        # In a function: Keras would track the segments' models, which share this one's layers.
        self._run = lambda images: _run(segments, levels, images)

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None
    ) -> dict[str, tf.Tensor]:
        return self._run(inputs) if training else super().call(inputs, training, mask)


def _run(segments: list[_Segment], levels: dict[str, str], x: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the outputs by name, after all segments one after the other."""
    ends = {}
    for name, segment in segments:
        ends[name] = x = segment(x)
    return {level: ends[name] for level, name in levels.items()}


def segment_ends(network: keras.Model, outputs: list[str]) -> list[str]:
    """Returns the layers whose outputs are kept, in order: `outputs` and some between the blocks.

    A block ends where a shortcut begins: at a layer that is used more than once, if nothing from
    before it is used after it.

    Args:
      network: functional, from one tensor to the outputs of some of its layers.
      outputs: the names of these layers, the last one's among them.

    Raises:
      ValueError: a shortcut goes past one of the outputs.
    """
    layers = {layer.name: layer for layer in network.layers}
    order = {name: index for index, name in enumerate(layers)}
    blocks, reach = [], 0
    for name, layer in layers.items():
        users = [order[user] for user in _users(layer, order)]
        others_reach, reach = reach, max([reach, *users])
        passed = others_reach <= order[name]  # Nothing from before this layer is used after it.
        if name in outputs and not passed:
            raise ValueError(f"{network.name} cannot be cut at {name}: a shortcut goes past it")
        if name in outputs or (len(users) > 1 and passed):
            blocks.append(name)
    every = round(math.sqrt(len(blocks)))
    ends, since = [], 0
    for name in blocks:
        since += 1
        if name in outputs or since == every:
            ends.append(name)
            since = 0
    return ends


def _segments(network: keras.Model, ends: tuple[str, ...]) -> list[_Segment]:
    """Cuts a network into parts, of which each takes the output of the one before."""
    segments, start = [], network.input
    for name in ends:
        output = network.get_layer(name).output
        segments.append((name, recomputed(keras.Model(start, output))))
        start = output
    return segments


def _users(layer: keras.layers.Layer, order: dict[str, int]) -> list[str]:
    """Returns the names of the layers of this network that use a layer's output."""
    names = (node.layer.name for node in layer.outbound_nodes)
    return [name for name in names if name in order]


def recomputed(block: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns tensor -> the block's output in training, which keeps nothing but the tensor.

    `tf.recompute_grad` would let batch norm follow the statistics of each batch twice.
    """

    @tf.custom_gradient
    def run(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(dy: tf.Tensor, variables: tuple[tf.Variable, ...] = ()) -> tuple:
            statistics = block.non_trainable_variables
            before = [variable.read_value() for variable in statistics]
            # The second pass may begin only when its gradient is there; and through the identity,
            # TensorFlow cannot take the first pass for the same computation.
            with tf.control_dependencies([dy, *before]), tf.GradientTape() as tape:
                again = tf.identity(x)
                tape.watch(again)
                y = block(again, training=True)
            own, *others = tape.gradient(y, [again, *variables], dy)
            for variable, value in zip(statistics, before, strict=True):
                variable.assign(value)
            return (own, others) if variables else own

        return block(x, training=True), gradient

    return run
