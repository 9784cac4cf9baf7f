"""Spectral normalisation."""

import keras

from tf_advseg.addons import addons


def spectral_normalization(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Wraps a layer so that its kernel's largest singular value is about 1 (Miyato et al., 2018).

    Keras 2.15's own layer fails inside a tf.function. tensorflow-addons' rewrites the kernel at
    each training call, so only the first call in a step may be one; later calls use its kernel.
    """
    # In float32 whatever the layer computes in: the rewritten kernel would be rounded to that dtype
    # at each call, losing small updates, and float16's squares underflow to a division by zero.
    return addons().layers.SpectralNormalization(layer, name=layer.name, dtype="float32")
