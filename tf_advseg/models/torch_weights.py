"""PyTorch's ResNet weights, in three namings, into a segmenter of ours.

The authors' DeepLab ("layer1.0.conv1.weight" ... "layer5.conv2d_list.0.weight"), the COCO weights
that it starts from (the same behind "Scale."), and torchvision's ResNet ("fc.weight" at the end).
"""

import re
from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from tf_advseg.errors import InputError
from tf_advseg.models.conventions import RESNET_STYLES
from tf_advseg.models.heads import HEAD_PREFIX

State = Mapping[str, np.ndarray]
Targets = dict[str, tf.Variable]

_SCALE = "Scale."
_HEAD, _CLASSIFIER = "layer5.", "fc."
_HEAD_DILATIONS = (6, 12, 18, 24)  # Of its branches, in order.
_BACKBONE = re.compile(r"(conv1|bn1|layer[1-4])\.")
_OWN_STEM = re.compile(r"conv1_(conv|bn)")
_OWN_BLOCK = re.compile(r"conv(\d)_block(\d+)_(\d)_(conv|bn)")
#: Batch norm that averages over all of training would need it; nobody's here does.
COUNTER = "num_batches_tracked"
_SUFFIXES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def style_of(names: Iterable[str]) -> str | None:
    """Returns the `conventions.RESNET_STYLES` that a state dict's names belong to, or None.

    DeepLab and torchvision name a ResNet alike and stride in different places. What follows the
    ResNet tells them apart.
    """
    names = [name.removeprefix(_SCALE) for name in names]
    if any(name.startswith(_HEAD) for name in names):
        return "deeplab"
    return "torchvision" if any(name.startswith(_CLASSIFIER) for name in names) else None


def normalization_of(names: Iterable[str], style: str) -> str:
    """Returns the `conventions.NORMALIZATIONS` that a state dict's weights were used with.

    The COCO weights behind "Scale." are Caffe's, of BGR. Files in the authors' own naming are fed
    RGB by their code, be they its initial weights or its results.
    """
    if style == "deeplab" and not any(name.startswith(_SCALE) for name in names):
        return "authors"
    return RESNET_STYLES[style].normalization


def load_state(
    segmenter: keras.Model, backbone: str, head_dilations: tuple[int, ...], state: State
) -> list[str]:
    """Sets a segmenter's backbone, and its head if that fits, from a PyTorch state dict.

    The head fits if it is the same, of the same number of classes (as in the authors' train.py).

    Args:
      segmenter: from `build_segmenter`, of the style that `style_of` says.
      backbone: its backbone's name.
      head_dilations: of its head.
      state: as `torch_file.read_torch_file` returns it.

    Returns:
      the names of the tensors that are left out.

    Raises:
      InputError: a tensor of the backbone is missing, has another shape, or has no place. Then
        nothing is changed.
    """
    state = {name.removeprefix(_SCALE): value for name, value in state.items()}
    targets = _backbone_targets(segmenter.get_layer(backbone), state)
    targets |= _head_targets(segmenter, head_dilations, state)
    for name, variable in targets.items():
        variable.assign(_as_keras(state[name]))
    return [name for name in state if name not in targets]


def torch_name(name: str) -> str:
    """Returns what PyTorch's ResNets call a variable of ours, such as "conv2_block1_0_bn/gamma:0".

    Raises:
      ValueError: it is of no ResNet.
    """
    layer, kind = name.removesuffix(":0").split("/")[-2:]
    if match := _OWN_STEM.fullmatch(layer):
        return f"{match[1]}1.{_SUFFIXES[kind]}"
    if not (match := _OWN_BLOCK.fullmatch(layer)):
        raise ValueError(f"{name} is no variable of a ResNet")
    stage, block, index, part = int(match[1]) - 1, int(match[2]) - 1, int(match[3]), match[4]
    inner = f"{part}{index}" if index else f"downsample.{0 if part == 'conv' else 1}"
    return f"layer{stage}.{block}.{inner}.{_SUFFIXES[kind]}"


def _backbone_targets(network: keras.Model, state: State) -> Targets:
    """Returns the backbone's variables by PyTorch's names, after making sure that all fit."""
    targets = {torch_name(variable.name): variable for variable in network.weights}
    for name, variable in targets.items():
        if name not in state:
            raise InputError(f"it has no {name}, which {network.name} needs")
        if (shape := _as_keras(state[name]).shape) != tuple(variable.shape):
            raise InputError(f"its {name} has the shape {shape}; allowed: {tuple(variable.shape)}")
    for name in state:
        if _BACKBONE.match(name) and name not in targets and not name.endswith(COUNTER):
            raise InputError(f"it has {name}, for which {network.name} has no place")
    return targets


def _head_targets(segmenter: keras.Model, head_dilations: tuple[int, ...], state: State) -> Targets:
    """Returns the variables of the head `deeplabv2` by PyTorch's names; none if they do not fit."""
    targets: Targets = {}
    layers = {layer.name: layer for layer in segmenter.layers}
    for dilation in head_dilations:
        layer = layers.get(f"{HEAD_PREFIX}dilation{dilation}")
        if layer is None or dilation not in _HEAD_DILATIONS:
            return {}
        index = _HEAD_DILATIONS.index(dilation)
        targets[f"{_HEAD}conv2d_list.{index}.weight"] = layer.kernel
        targets[f"{_HEAD}conv2d_list.{index}.bias"] = layer.bias
    fits = (
        name in state and _as_keras(state[name]).shape == tuple(variable.shape)
        for name, variable in targets.items()
    )
    return targets if all(fits) else {}


def _as_keras(value: np.ndarray) -> np.ndarray:
    """Returns a kernel as [height, width, in, out], and anything else as it is."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
