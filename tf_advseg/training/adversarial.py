"""The game of segmenter and discriminator: what each loses by a logit of the discriminator.

Each loss is a function of the logits of a map being a true label, float32 of any shape, to the
loss of each pixel. To add one, write its class and add its line; `recipe` has the names.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_advseg.recipe import CROSS_ENTROPY, HINGE, LEAST_SQUARES

PixelLoss = Callable[[tf.Tensor], tf.Tensor]


class Game(NamedTuple):
    """What is lost by each pixel.

    Attributes:
      predicted: by the discriminator, by a prediction that it takes for a true label.
      true: by the discriminator, by a true label that it takes for a prediction.
      seen_through: by the segmenter, by a prediction that is not taken for a true label.
    """

    predicted: PixelLoss
    true: PixelLoss
    seen_through: PixelLoss


def game(name: str, label_smoothing: float = 0.0) -> Game:
    """Returns the losses of a name in `recipe.ADVERSARIAL_LOSSES`.

    Args:
      name: "cross_entropy", the paper's (equations 1 and 4); "hinge" (Lim and Ye, arXiv
        1705.02894); or "least_squares" (Mao et al., arXiv 1611.04076, with a = -1, b = 1, c = 0).
      label_smoothing: taken off the target of 1 of the cross-entropy of true labels.
    """
    return {
        CROSS_ENTROPY: Game(_against(0.0), _against(1.0 - label_smoothing), _against(1.0)),
        HINGE: Game(
            lambda logits: tf.nn.relu(1 + logits),
            lambda logits: tf.nn.relu(1 - logits),
            tf.negative,
        ),
        LEAST_SQUARES: Game(
            lambda logits: tf.square(logits + 1) / 2,
            lambda logits: tf.square(logits - 1) / 2,
            lambda logits: tf.square(logits) / 2,
        ),
    }[name]


def loss_range(name: str, label_smoothing: float = 0.0) -> tuple[float, float]:
    """Returns L_D of a discriminator that knows all, and of the best one that knows nothing.

    In the cross-entropy the target for true labels is t = 1 - label smoothing. Whoever knows what
    is true says t of it, and what is lost is then the target's entropy H(t). Whoever does not says
    the mean of both targets of everything, t / 2. In the others it says 0 of everything.
    """
    target = 1 - label_smoothing
    return {
        CROSS_ENTROPY: (_entropy(target), 2 * _entropy(target / 2)),
        HINGE: (0.0, 2.0),
        LEAST_SQUARES: (0.0, 1.0),
    }[name]


def _entropy(probability: float) -> float:
    """Returns the entropy of a yes or no, in nats."""
    parts = (probability, 1 - probability)
    return sum(part * math.log(1 / part) for part in parts if part)


def _against(target: float) -> PixelLoss:
    """Returns the cross-entropy of the logits against a target in 0-1, in nats."""
    return lambda logits: tf.nn.sigmoid_cross_entropy_with_logits(
        tf.fill(tf.shape(logits), target), logits
    )


def shown_truth(labels: tf.Tensor, probabilities: tf.Tensor, peak: float) -> tf.Tensor:
    """Returns what the discriminator is shown as truth.

    One-hot labels are told from a segmenter's soft probabilities at a glance, whatever they say.
    With a peak below 1, truth is as soft as the prediction: the true class has the probability
    that the prediction gives it, at least the peak, and the others share the rest as they do there.

    Args:
      labels: int32 [B, H, W]. The truth of a void pixel is all zeros, as in the authors' code.
      probabilities: float32 [B, H, W, C], predicted. No gradient goes back to them.
      peak: in 0-1; 1 for one-hot labels.

    Returns:
      float32 [B, H, W, C].
    """
    one_hot = tf.one_hot(labels, probabilities.shape[-1])
    if peak == 1:
        return one_hot
    probabilities = tf.stop_gradient(probabilities)
    predicted = tf.reduce_sum(one_hot * probabilities, axis=-1, keepdims=True)
    true = tf.maximum(predicted, peak)
    others = (1 - one_hot) * probabilities
    # Where the prediction leaves nothing to the others, neither does the truth.
    share = tf.math.divide_no_nan(1 - true, tf.reduce_sum(others, axis=-1, keepdims=True))
    has_class = tf.reduce_sum(one_hot, axis=-1, keepdims=True)
    return has_class * (one_hot * true + others * share)


def noise(shape: tf.Tensor, deviation: float, seed: tf.Tensor) -> tf.Tensor:
    """Returns instance noise (Sonderby et al., arXiv 1610.04490), float32 of this shape.

    It blurs the difference between one-hot and soft maps, so that the discriminator must look at
    what they say.

    Args:
      shape: int [N].
      deviation: of the normal distribution.
      seed: int [2].
    """
    return tf.random.stateless_normal(shape, seed, stddev=deviation)
