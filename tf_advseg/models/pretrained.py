"""Pretrained weights of backbones."""

from pathlib import Path

import keras
import numpy as np

from tf_advseg import registry
from tf_advseg.errors import InputError
from tf_advseg.models.keras_file import Layers, read_keras_file

_HDF5_START = b"\x89HDF\r\n\x1a\n"


def is_keras_file(path: Path) -> bool:
    """Tells by a file's beginning whether it is an .h5 file, as Keras writes it.

    Raises:
      InputError: it is a .keras file.
    """
    if path.suffix == ".keras":
        raise InputError(
            f"--weights {path} is a whole model, which may hold code; allowed: an .h5 file, as "
            "model.save_weights writes it"
        )
    with path.open("rb") as file:
        return file.read(len(_HDF5_START)) == _HDF5_START


def load_weights(segmenter: keras.Model, backbone: str, weights: str) -> list[str]:
    """Loads pretrained weights into a segmenter's backbone; its head keeps random ones.

    Args:
      segmenter: from `build_segmenter`.
      backbone: its backbone's name.
      weights: "imagenet", Keras' own, downloaded once into Keras' cache; or the path of a Keras
        .h5 weights file of the backbone, such as the one that "imagenet" downloads.

    Returns:
      the names of the file's layers that the backbone has not, and that are left out.

    Raises:
      InputError: there are no such weights, they cannot be fetched, or they do not fit.
    """
    network = segmenter.get_layer(backbone)
    if weights == "imagenet":
        copy_layers(_imagenet_network(backbone), network)
        return []
    try:
        layers = read_keras_file(Path(weights))
        _check_fit(layers, network)
    except InputError as error:
        raise InputError(f"cannot load --weights {weights}: {error}") from None
    # By name, since a file of the whole classifier holds layers that a backbone has not.
    for layer in _layers_with_weights(network):
        layer.set_weights(layers[layer.name])
    own = {layer.name for layer in network.layers}
    return [name for name, tensors in layers.items() if name not in own and tensors]


def _layers_with_weights(network: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in network.layers if layer.weights]


def _check_fit(layers: Layers, network: keras.Model) -> None:
    """Raises InputError unless a file has finite tensors for each of a network's layers."""
    for layer in _layers_with_weights(network):
        if layer.name not in layers:
            raise InputError(f"it has no {layer.weights[0].name} for the backbone {network.name!r}")
        found = [tensor.shape for tensor in layers[layer.name]]
        expected = [tuple(variable.shape) for variable in layer.weights]
        if found != expected:
            raise InputError(f"its layer {layer.name} has the shapes {found}; allowed: {expected}")
        if not all(np.isfinite(tensor).all() for tensor in layers[layer.name]):
            raise InputError(f"its layer {layer.name} has values that are no finite numbers")


def copy_layers(source: keras.Model, target: keras.Model) -> None:
    """Copies weights from layer to layer of the same name."""
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def _imagenet_network(backbone: str) -> keras.Model:
    if backbone not in registry.IMAGENET:
        known = ", ".join(registry.IMAGENET)
        raise InputError(f"--weights imagenet: there are none for {backbone!r}; allowed: {known}")
    fetch = registry.load(registry.IMAGENET, backbone)
    try:
        return fetch(include_top=False, weights="imagenet")
    except Exception as error:
        # Keras raises a bare Exception where a download fails.
        raise InputError(
            f"--weights imagenet: cannot download Keras' weights of {backbone} ({error}); "
            "without a network, give the path of the .h5 file as --weights"
        ) from None
