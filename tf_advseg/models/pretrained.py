"""Pretrained weights of backbones."""

from pathlib import Path

import h5py
import keras
import numpy as np

from tf_advseg import registry
from tf_advseg.errors import InputError, first_line

_HDF5_START = b"\x89HDF\r\n\x1a\n"


def is_keras_file(path: Path) -> bool:
    """Tells by a file's beginning, or the suffix .keras, whether Keras may have written it."""
    with path.open("rb") as file:
        return file.read(len(_HDF5_START)) == _HDF5_START or path.suffix == ".keras"


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
    random = network.get_weights()
    network.set_weights([np.full_like(value, np.nan) for value in random])
    try:
        # By name, since a file of the whole classifier holds layers that a backbone has not.
        network.load_weights(weights, by_name=True)
        _check_all_loaded(network)
        return _other_layers(weights, network)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        # Whatever Keras' reader makes of a damaged file; the last, also of one that is no HDF5.
        network.set_weights(random)
        raise InputError(f"cannot load --weights {weights}: {first_line(error)}") from None


def _other_layers(path: str, network: keras.Model) -> list[str]:
    """Returns the layers with weights of an .h5 file that the network has not."""
    if not h5py.is_hdf5(path):
        return []
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        names = [_text(name) for name in group.attrs.get("layer_names", ())]
        own = {layer.name for layer in network.layers}
        return [n for n in names if n not in own and len(group[n].attrs["weight_names"])]


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _check_all_loaded(network: keras.Model) -> None:
    """Raises ValueError if a weight is NaN still: Keras passes over layers that a file has not."""
    for variable in network.weights:
        if np.isnan(variable).any():
            raise ValueError(f"it has no {variable.name} for the backbone {network.name!r}")


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
