"""Pretrained weights of backbones."""

import keras
import numpy as np

from tf_advseg import registry
from tf_advseg.errors import InputError, first_line


def load_weights(segmenter: keras.Model, backbone: str, weights: str) -> None:
    """Loads pretrained weights into a segmenter's backbone; its head keeps random ones.

    Args:
      segmenter: from `build_segmenter`.
      backbone: its backbone's name.
      weights: "none"; "imagenet", Keras' own, downloaded once into Keras' cache; or the path of a
        Keras .h5 weights file of the backbone, such as the one that "imagenet" downloads.

    Raises:
      InputError: there are no such weights, they cannot be fetched, or they do not fit.
    """
    if weights == "none":
        return
    network = segmenter.get_layer(backbone)
    if weights == "imagenet":
        copy_layers(_imagenet_network(backbone), network)
        return
    random = network.get_weights()
    network.set_weights([np.full_like(value, np.nan) for value in random])
    try:
        # By name, since a file of the whole classifier holds layers that a backbone has not.
        network.load_weights(weights, by_name=True)
        _check_all_loaded(network)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        # The last is Keras' answer to a file that is no HDF5.
        network.set_weights(random)
        raise InputError(f"cannot load --weights {weights}: {first_line(error)}") from None


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
