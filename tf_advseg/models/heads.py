"""Heads: features to class logits on the feature grid. Registered in `tf_advseg.registry`.

Every layer's name begins with HEAD_PREFIX, by which optimizers and checkpoints tell the head from
the backbone.
"""

from collections.abc import Mapping

import keras
import tensorflow as tf

HEAD_PREFIX = "head_"
_DEEPLABV2_DILATIONS = (6, 12, 18, 24)


def deeplabv2(features: Mapping[str, tf.Tensor], num_classes: int) -> tf.Tensor:
    """The sum of four dilated 3x3 convolutions of the last level (DeepLab-v2's "ASPP-L").

    The authors' code adds up only the first two, by an early return; the paper means all four.

    Args:
      features: levels by name, as a Backbone's network returns them; "stage5" is used.
      num_classes: number of classes.

    Returns:
      logits on the feature grid, [B, h, w, num_classes].
    """
    branches = [
        keras.layers.Conv2D(
            num_classes,
            3,
            padding="same",
            dilation_rate=dilation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            name=f"{HEAD_PREFIX}dilation{dilation}",
        )(features["stage5"])
        for dilation in _DEEPLABV2_DILATIONS
    ]
    return keras.layers.Add(name=f"{HEAD_PREFIX}sum")(branches)
