"""Heads: features to class logits on the feature grid. Registered in `tf_advseg.registry`.

Every layer's name begins with HEAD_PREFIX, by which optimizers and checkpoints tell the head from
the backbone.
"""

import dataclasses
from collections.abc import Mapping

import keras
import tensorflow as tf

from tf_advseg.models.convolutions import TapwiseConv2D

HEAD_PREFIX = "head_"


@dataclasses.dataclass(frozen=True)
class HeadOptions:
    """What recipes change in a head. A head takes no notice of what it has not.

    Attributes:
      dilations: of the branches of `deeplabv2`.
      align_corners: how maps are resized inside of a head; see `layers.ResizeLike`.
    """

    dilations: tuple[int, ...] = (6, 12, 18, 24)
    align_corners: bool = False


def deeplabv2(
    features: Mapping[str, tf.Tensor], num_classes: int, options: HeadOptions
) -> tf.Tensor:
    """The sum of dilated 3x3 convolutions of the last level (DeepLab-v2's "ASPP-L").

    The paper has all four. A loop of the authors' code that returns early adds up the first two.

    Args:
      features: levels by name, as a Backbone's network returns them; "stage5" is used.
      num_classes: number of classes.
      options: its dilations.

    Returns:
      logits on the feature grid, [B, h, w, num_classes].
    """
    branches = [
        TapwiseConv2D(
            num_classes,
            3,
            dilation_rate=dilation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            name=f"{HEAD_PREFIX}dilation{dilation}",
        )(features["stage5"])
        for dilation in options.dilations
    ]
    return keras.layers.Add(name=f"{HEAD_PREFIX}sum")(branches) if branches[1:] else branches[0]
