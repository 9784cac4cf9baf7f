"""The fully convolutional discriminator (section 3.2)."""

import functools

import keras
import tensorflow as tf

from tf_advseg.models.convolutions import SymmetricConv2D
from tf_advseg.models.layers import LogOdds, Normalize, ResizeLike
from tf_advseg.models.spectral import spectral_normalization

_CHANNELS = 64  # Of the first convolution, in the paper.
_KERNEL_SIZE = 4
_WIDTHS = (1, 2, 4, 8)  # Of all but the last, in those of the first.
LAYERS = len(_WIDTHS) + 1


def build_discriminator(
    num_classes: int,
    *,
    channels: int = _CHANNELS,
    outputs: int = 1,
    padding: str = "same",
    align_corners: bool = False,
    init: str = "keras",
    spectral_norm: bool = False,
    strides: int = LAYERS,
    sees_image: bool = False,
    confidence_head: bool = False,
    precision: str = "float32",
) -> keras.Model:
    """Builds the discriminator: five 4x4 convolutions of stride 2, Leaky ReLU of 0.2 in between.

    It is the paper's unless `strides`, `sees_image` or `confidence_head` say otherwise.

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
      strides: how many of the convolutions, from the first on, have stride 2: the fewer, the finer
        its map, and the smaller the part of the input that decides a pixel.
      sees_image: whether it sees the image too, beside its class map.
      confidence_head: whether a second map comes from the last convolution's input: the logits of
        a prediction being right, which are then the confidence. It begins at the largest
        probability and learns what to change of it: the coarse map cannot tell pixels apart that
        the softmax tells apart well.
      precision: a Keras dtype policy. The logits are float32 in all of them.

    Returns:
      a functional model, class probabilities or one-hot labels [B, H, W, num_classes], and RGB
      images [B, H, W, 3] in 0-255 if it sees them -> logits float32 [B, H, W, 1]: above zero where
      the map looks like a true label. With a head of confidence [B, H, W, 2]: its logits are last.
      Call it by `judge`, which knows what it sees.
    """
    wrap = spectral_normalization if spectral_norm else lambda layer: layer
    convolution = _CONVOLUTIONS[padding]
    initializers = {"keras": lambda inputs: {}, "torch": _torch_initializers}[init]

    def layer(inputs: int, filters: int, number: int) -> keras.layers.Layer:
        options = initializers(_KERNEL_SIZE**2 * inputs)
        stride = 2 if number <= strides else 1
        return wrap(
            convolution(filters, strides=stride, name=f"conv{number}", dtype=precision, **options)
        )

    probabilities = keras.Input((None, None, num_classes), name="probabilities", dtype="float32")
    inputs, x = probabilities, probabilities
    if sees_image:
        image = keras.Input((None, None, 3), name="image", dtype="float32")
        inputs = (probabilities, image)
        # Whatever the backbone's colours are: these have about the range of class maps.
        normalized = Normalize("imagenet", name="normalize")(image)
        x = keras.layers.Concatenate(name="maps", dtype="float32")((probabilities, normalized))
    for number, width in enumerate(_WIDTHS, 1):
        x = layer(x.shape[-1], width * channels, number)(x)
        x = keras.layers.LeakyReLU(0.2, name=f"relu{number}", dtype=precision)(x)
    last = layer(x.shape[-1], outputs + confidence_head, LAYERS)(x)
    logits = ResizeLike(align_corners, name="resize")((last, probabilities))
    said = logits[..., 1:2] - logits[..., :1] if outputs == 2 else logits
    if confidence_head:
        right = logits[..., -1:] + _calibrated_odds(probabilities)
        said = tf.concat([said[..., :1], right], axis=-1)
    return keras.Model(inputs, said, name="discriminator")


def _calibrated_odds(probabilities: tf.Tensor) -> tf.Tensor:
    """Returns a x + b of the log odds x of the largest probability; a and b learn from 1 and 0."""
    odds = LogOdds(name="odds")(probabilities)
    scale = keras.layers.Conv2D(
        1, 1, kernel_initializer="ones", name="calibration", dtype="float32"
    )
    return scale(odds)


def judge(
    discriminator: keras.Model,
    probabilities: tf.Tensor,
    images: tf.Tensor,
    *,
    training: bool = False,
) -> tf.Tensor:
    """Runs a discriminator on class maps and, if it sees them, on the images that they are of.

    Args:
      discriminator: as `build_discriminator` returns it.
      probabilities: float32 [B, H, W, C].
      images: RGB float32 [B, H, W, 3] in 0-255.
      training: whether this call may renew what spectral normalisation divides by.

    Returns:
      its logits, float32 [B, H, W, 1 or 2].
    """
    sees_image = len(discriminator.inputs) > 1
    seen = (probabilities, images) if sees_image else probabilities
    return discriminator(seen, training=training)


def realness(logits: tf.Tensor) -> tf.Tensor:
    """Returns the logits of a map being a true label, float32 [B, H, W], of those of `judge`."""
    return logits[..., 0]


def confidence(logits: tf.Tensor) -> tf.Tensor:
    """Returns the confidence, float32 [B, H, W] in 0-1, in the maps that `judge` gave logits of."""
    return tf.sigmoid(logits[..., -1])


_CONVOLUTIONS = {
    "same": functools.partial(keras.layers.Conv2D, kernel_size=_KERNEL_SIZE, padding="same"),
    "one": functools.partial(SymmetricConv2D, kernel_size=_KERNEL_SIZE, pad=1),
    "two": functools.partial(SymmetricConv2D, kernel_size=_KERNEL_SIZE, pad=2),
}


def _torch_initializers(inputs: int) -> dict[str, keras.initializers.Initializer]:
    """Returns PyTorch's for a convolution with a kernel of so many inputs (nn.Conv2d)."""
    bound = inputs**-0.5
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-bound, bound),
        "bias_initializer": keras.initializers.RandomUniform(-bound, bound),
    }
