"""The fully convolutional discriminator (section 3.2)."""

import keras

from tf_advseg.models.layers import ResizeLike
from tf_advseg.models.spectral import spectral_normalization

_CHANNELS = 64  # Of the first convolution, in the paper.


def build_discriminator(
    num_classes: int,
    *,
    channels: int = _CHANNELS,
    spectral_norm: bool = False,
    precision: str = "float32",
) -> keras.Model:
    """Builds the discriminator: five 4x4 convolutions of stride 2, Leaky ReLU of 0.2 in between.

    Convolutions pad as TensorFlow's "same", so that maps of any size from 1x1 work. PyTorch's
    padding of 1 gives the same sizes where 32 divides the image's, and one less elsewhere.

    Args:
      num_classes: channels of its input.
      channels: of the first convolution; the next three have twice, four and eight times as many.
      spectral_norm: whether each kernel is divided by its largest singular value.
      precision: a Keras dtype policy. The logits are float32 in all of them.

    Returns:
      a functional model, class probabilities or one-hot labels [B, H, W, num_classes] -> logits
      float32 [B, H, W, 1]: above zero where the map looks like a true label.
    """
    wrap = spectral_normalization if spectral_norm else lambda layer: layer
    probabilities = keras.Input((None, None, num_classes), name="probabilities", dtype="float32")
    x = probabilities
    for index, factor in enumerate((1, 2, 4, 8), 1):
        convolution = _convolution(factor * channels, f"conv{index}", precision)
        x = wrap(convolution)(x)
        x = keras.layers.LeakyReLU(0.2, name=f"relu{index}", dtype=precision)(x)
    x = wrap(_convolution(1, "conv5", precision))(x)
    logits = ResizeLike(name="logits")((x, probabilities))
    return keras.Model(probabilities, logits, name="discriminator")


def _convolution(channels: int, name: str, precision: str) -> keras.layers.Layer:
    return keras.layers.Conv2D(channels, 4, 2, padding="same", name=name, dtype=precision)
