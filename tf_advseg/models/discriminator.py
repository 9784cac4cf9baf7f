"""The fully convolutional discriminator (section 3.2)."""

import functools

import keras

from tf_advseg.models.convolutions import SymmetricConv2D
from tf_advseg.models.layers import ResizeLike
from tf_advseg.models.spectral import spectral_normalization

_CHANNELS = 64  # Of the first convolution, in the paper.
_KERNEL_SIZE = 4


def build_discriminator(
    num_classes: int,
    *,
    channels: int = _CHANNELS,
    outputs: int = 1,
    padding: str = "same",
    align_corners: bool = False,
    init: str = "keras",
    spectral_norm: bool = False,
    precision: str = "float32",
) -> keras.Model:
    """Builds the discriminator: five 4x4 convolutions of stride 2, Leaky ReLU of 0.2 in between.

    Args:
      num_classes: channels of its input.
      channels: of the first convolution; the next three have twice, four and eight times as many.
      outputs: of the last convolution. One is the logit. Two are those of "predicted" and "true",
        as in the challenge entry; a softmax over two is a sigmoid of their difference, and that is
        returned, so that losses and confidence are the same code.
      padding: "same", TensorFlow's; or pixels on each side: "one" as in the authors' code, with
        which maps end one row short where 32 does not divide their size, or "two" as in the
        challenge entry's, with which they have one row more.
      init: "keras", Glorot's; or "torch", PyTorch's default, which the published codes begin with:
        kernels and biases even between -1 and 1 over the root of the kernel's inputs.
      align_corners: how the logits are brought to the input's size; see `layers.ResizeLike`.
      spectral_norm: whether each kernel is divided by its largest singular value.
      precision: a Keras dtype policy. The logits are float32 in all of them.

    Returns:
      a functional model, class probabilities or one-hot labels [B, H, W, num_classes] -> logits
      float32 [B, H, W, 1]: above zero where the map looks like a true label.
    """
    wrap = spectral_normalization if spectral_norm else lambda layer: layer
    convolution = _CONVOLUTIONS[padding]
    initializers = {"keras": lambda inputs: {}, "torch": _torch_initializers}[init]

    def layer(inputs: int, filters: int, name: str) -> keras.layers.Layer:
        options = initializers(_KERNEL_SIZE**2 * inputs)
        return wrap(convolution(filters, name=name, dtype=precision, **options))

    probabilities = keras.Input((None, None, num_classes), name="probabilities", dtype="float32")
    x = probabilities
    for index, factor in enumerate((1, 2, 4, 8), 1):
        x = layer(x.shape[-1], factor * channels, f"conv{index}")(x)
        x = keras.layers.LeakyReLU(0.2, name=f"relu{index}", dtype=precision)(x)
    x = layer(x.shape[-1], outputs, "conv5")(x)
    logits = ResizeLike(align_corners, name="resize")((x, probabilities))
    if outputs == 2:
        logits = logits[..., 1:] - logits[..., :1]
    return keras.Model(probabilities, logits, name="discriminator")


_strided = functools.partial(SymmetricConv2D, kernel_size=_KERNEL_SIZE, strides=2)
_CONVOLUTIONS = {
    "same": functools.partial(
        keras.layers.Conv2D, kernel_size=_KERNEL_SIZE, strides=2, padding="same"
    ),
    "one": functools.partial(_strided, pad=1),
    "two": functools.partial(_strided, pad=2),
}


def _torch_initializers(inputs: int) -> dict[str, keras.initializers.Initializer]:
    """Returns PyTorch's for a convolution with a kernel of so many inputs (nn.Conv2d)."""
    bound = inputs**-0.5
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-bound, bound),
        "bias_initializer": keras.initializers.RandomUniform(-bound, bound),
    }
