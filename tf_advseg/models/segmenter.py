"""The segmenter: image -> normalise -> backbone -> head -> logits at the image's size."""

import contextlib
from collections.abc import Iterator

import keras

from tf_advseg import registry
from tf_advseg.models.backbones import BackboneOptions
from tf_advseg.models.heads import HEAD_PREFIX, HeadOptions
from tf_advseg.models.layers import Normalize, ResizeLike


def build_segmenter(
    backbone: str = "resnet101",
    head: str = "deeplabv2",
    *,
    num_classes: int,
    output_stride: int = 8,
    batch_norm: str = "train",
    backbone_style: str = "keras",
    normalization: str | None = None,
    head_dilations: tuple[int, ...] = HeadOptions.dilations,
    align_corners: bool = False,
    recompute: bool = False,
    precision: str = "float32",
) -> keras.Model:
    """Builds a segmentation network with random weights.

    Args:
      backbone: a name in `registry.BACKBONES`.
      head: a name in `registry.HEADS`.
      num_classes: number of classes.
      output_stride: input pixels for one step of the feature grid.
      batch_norm: of the backbone, one of `conventions.BATCH_NORM_MODES`. A head's always trains.
      backbone_style: a name in `conventions.RESNET_STYLES`.
      normalization: a name in `conventions.NORMALIZATIONS`; None means the backbone's own.
      head_dilations: of the head `deeplabv2`.
      align_corners: how logits are brought to the image's size; see `layers.ResizeLike`.
      recompute: whether training computes the backbone's activations again for the backward pass,
        instead of keeping them.
      precision: a Keras dtype policy. Normalisation and logits are float32 in all of them.

    Returns:
      a functional model, RGB images [B, H, W, 3] in 0-255 of any size -> logits float32
      [B, H, W, num_classes].

    Raises:
      InputError: an unknown name, or an output stride or style that the backbone cannot have.
    """
    options = BackboneOptions(output_stride, batch_norm, backbone_style, recompute)
    with _dtype_policy(precision):
        parts = registry.load(registry.BACKBONES, backbone)(options)
        image = keras.Input((None, None, 3), name="image", dtype="float32")
        normalized = Normalize(normalization or parts.normalization, name="normalize")(image)
        features = parts.network(normalized)
        head_options = HeadOptions(head_dilations, align_corners)
        logits = registry.load(registry.HEADS, head)(features, num_classes, head_options)
        logits = ResizeLike(align_corners, name="logits")((logits, image))
    segmenter = keras.Model(image, logits, name="segmenter")
    if not head_variables(segmenter):
        raise ValueError(f"no layer of the head {head!r} is named {HEAD_PREFIX}...")
    return segmenter


def padding_color(segmenter: keras.Model) -> tuple[float, float, float]:
    """Returns the RGB colour in 0-255 that a segmenter's normalisation makes zero."""
    return segmenter.get_layer("normalize").mean


def normalization_of(segmenter: keras.Model) -> str:
    """Returns the name, in `conventions.NORMALIZATIONS`, of what a segmenter was built with."""
    return segmenter.get_layer("normalize").convention


def head_variables(segmenter: keras.Model) -> list:
    """Returns the head's trainable variables, by their layers' names."""
    head = [layer for layer in segmenter.layers if layer.name.startswith(HEAD_PREFIX)]
    return [variable for layer in head for variable in layer.trainable_variables]


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Sets Keras' dtype policy for the layers that are built inside, and then sets it back.

    Keras' own backbones take no dtype, so that the global policy is the only way to reach them.
    """
    outer = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(outer)
