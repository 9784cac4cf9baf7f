"""What the segmenter is to say of unlabeled images, and how much each pixel counts."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_advseg.recipe import BOTH, CONFIDENCE, PROBABILITY, WEIGHTED, Recipe
from tf_advseg.training import losses


class PseudoLabels(NamedTuple):
    """The most likely class of each pixel. No gradient goes through any part.

    Attributes:
      class_ids: int32 [B, H, W].
      weights: float32 [B, H, W] in 0-1: how much a pixel counts; 0 where it is not selected.
      pixels: bool [B, H, W]: those that the loss is a mean over.
    """

    class_ids: tf.Tensor
    weights: tf.Tensor
    pixels: tf.Tensor

    def loss(self, logits: tf.Tensor) -> tf.Tensor:
        """L_semi, the cross-entropy of logits, float32 [B, H, W, C], against them; float32 []."""
        pixel_losses = tf.nn.sparse_softmax_cross_entropy_with_logits(self.class_ids, logits)
        return losses.masked_mean(self.weights * pixel_losses, self.pixels)


#: How much a pixel counts, by its largest probability and its confidence, both float32 in 0-1.
_Weights = Callable[[tf.Tensor, tf.Tensor | None, Recipe], tf.Tensor]


def _confident(probability: tf.Tensor, confidence: tf.Tensor | None, recipe: Recipe) -> tf.Tensor:
    return tf.cast(confidence > recipe.t_semi, tf.float32)


def _probable(probability: tf.Tensor, confidence: tf.Tensor | None, recipe: Recipe) -> tf.Tensor:
    return tf.cast(probability > recipe.t_probability, tf.float32)


_SELECTIONS: dict[str, _Weights] = {
    CONFIDENCE: _confident,
    PROBABILITY: _probable,
    BOTH: lambda *pixel: _confident(*pixel) * _probable(*pixel),
    WEIGHTED: lambda probability, confidence, recipe: (
        confidence * _probable(probability, confidence, recipe)
    ),
}


def own(
    logits: tf.Tensor, confidence: tf.Tensor | None, valid: tf.Tensor, recipe: Recipe
) -> PseudoLabels:
    """Returns the segmenter's own prediction (equation 5), whose loss is over selected pixels.

    Args:
      logits: float32 [B, H, W, C], the segmenter's.
      confidence: float32 [B, H, W] in 0-1, in the prediction; None if the selection needs none.
      valid: bool [B, H, W], false where the image is padded.
      recipe: how pixels are selected.
    """
    labels = _selected(tf.nn.softmax(logits), confidence, valid, recipe)
    return labels._replace(pixels=labels.weights > 0)


def from_teacher(
    probabilities: tf.Tensor, confidence: tf.Tensor | None, valid: tf.Tensor, recipe: Recipe
) -> PseudoLabels:
    """Returns a teacher's prediction, whose loss is over all valid pixels.

    So an image counts the less, the fewer of its pixels are selected (French et al., arXiv
    1906.01916).

    Args:
      probabilities: float32 [B, H, W, C], the teacher's.
      confidence, valid, recipe: as for `own`.
    """
    return _selected(probabilities, confidence, valid, recipe)


def selected_share(labels: PseudoLabels, valid: tf.Tensor) -> tf.Tensor:
    """Returns the share of the valid pixels that counts, float32 [] in 0-1."""
    return losses.masked_mean(tf.cast(labels.weights > 0, tf.float32), valid)


def _selected(
    probabilities: tf.Tensor, confidence: tf.Tensor | None, valid: tf.Tensor, recipe: Recipe
) -> PseudoLabels:
    largest = tf.reduce_max(probabilities, axis=-1)
    weights = _SELECTIONS[recipe.selected_by](largest, confidence, recipe)
    labels = PseudoLabels(
        tf.argmax(probabilities, -1, tf.int32), weights * tf.cast(valid, tf.float32), valid
    )
    return PseudoLabels(*map(tf.stop_gradient, labels))
