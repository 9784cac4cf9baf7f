"""The head of UPerNet: pyramid pooling on top of a feature pyramid.

Xiao et al. 2018, "Unified Perceptual Parsing for Scene Understanding",
https://arxiv.org/abs/1807.10221. Its feature pyramid is that of Lin et al. 2017, with batch norm;
the pyramid pooling module is PSPNet's (Zhao et al. 2017).
"""

from collections.abc import Mapping

import keras
import tensorflow as tf

from tf_advseg.models.heads import HEAD_PREFIX, HeadOptions
from tf_advseg.models.layers import AdaptiveAveragePooling2D, ResizeLike
from tf_advseg.models.normalization import PooledBatchNormalization

#: Bins of the pyramid pooling module, as in PSPNet.
BINS = (1, 2, 3, 6)
#: The paper's, in every layer but the classifier. It has them on ResNets, whose stage5 has 2048.
MAX_CHANNELS = 512
MIN_CHANNELS = 64
#: How many times the head's channels those of stage5 are: the paper's 2048 to 512.
CHANNEL_RATIO = 4
#: PyTorch's defaults, which the authors' code has: its momentum is 0.1 in its own terms.
_MOMENTUM, _EPSILON = 0.9, 1e-5


def upernet(features: Mapping[str, tf.Tensor], num_classes: int, options: HeadOptions) -> tf.Tensor:
    """Pyramid pooling on stage5, then top-down sums to stage2, then all levels fused at its size.

    Every layer but the classifier has a quarter as many channels as stage5 has, at least 64 and at
    most 512: the paper's 512 on a ResNet, whose head would dwarf a small backbone.

    Args:
      features: levels by name, as a Backbone's network returns them; all four are used.
      num_classes: number of classes.
      options: its align_corners.

    Returns:
      logits on the grid of stage2, [B, h, w, num_classes].
    """
    wanted = features["stage5"].shape[-1] // CHANNEL_RATIO
    channels = min(MAX_CHANNELS, max(MIN_CHANNELS, wanted))

    def resize(x: tf.Tensor, reference: tf.Tensor, name: str) -> tf.Tensor:
        name = f"{HEAD_PREFIX}{name}_resize"
        return ResizeLike(options.align_corners, name=name)((x, reference))

    x = features["stage5"]
    pooled = [x]
    for bins in BINS:
        name = f"pool{bins}"
        bin_map = AdaptiveAveragePooling2D(bins, name=f"{HEAD_PREFIX}{name}")(x)
        bin_map = _convolution(bin_map, channels, 1, name, PooledBatchNormalization)
        pooled.append(resize(bin_map, x, name))
    x = keras.layers.Concatenate(name=f"{HEAD_PREFIX}pool_concat")(pooled)
    x = _convolution(x, channels, 3, "stage5")

    levels = [x]
    for name in ("stage4", "stage3", "stage2"):
        lateral = _convolution(features[name], channels, 1, f"{name}_lateral")
        x = resize(x, lateral, f"{name}_top")
        # As other Keras layers, Add brings its inputs to one dtype.
        x = keras.layers.Add(name=f"{HEAD_PREFIX}{name}_sum")([lateral, x])
        levels.append(_convolution(x, channels, 3, name))

    *coarse, finest = levels
    coarse = [
        resize(level, finest, f"{name}_fuse")
        for name, level in zip(("stage5", "stage4", "stage3"), coarse, strict=True)
    ]
    x = keras.layers.Concatenate(name=f"{HEAD_PREFIX}fuse_concat")([*coarse, finest])
    x = _convolution(x, channels, 3, "fuse")
    return keras.layers.Conv2D(
        num_classes,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name=f"{HEAD_PREFIX}classifier",
    )(x)


def _convolution(
    x: tf.Tensor,
    channels: int,
    kernel_size: int,
    name: str,
    norm: type[keras.layers.Layer] = keras.layers.BatchNormalization,
) -> tf.Tensor:
    """A convolution with batch norm and ReLU, as every layer of this head but the classifier."""
    name = f"{HEAD_PREFIX}{name}"
    x = keras.layers.Conv2D(
        channels,
        kernel_size,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = norm(name=f"{name}_bn", momentum=_MOMENTUM, epsilon=_EPSILON)(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
