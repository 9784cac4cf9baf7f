"""What is known of a step: which of its losses are tracked, and which count in their means."""

from collections.abc import Collection, Mapping

import keras
import tensorflow as tf

from tf_advseg.recipe import Recipe
from tf_advseg.training.objective import CONFIDENCES

#: Name -> a value and its weight in the mean, both float32 [].
Measured = dict[str, tuple[tf.Tensor, tf.Tensor]]

#: Under loss scaling: whether the update of a network was left out, 1 or 0.
SKIPPED_SEGMENTER, SKIPPED_DISCRIMINATOR = SKIPPED = ("skipped_segmenter", "skipped_discriminator")


def names(recipe: Recipe) -> list[str]:
    """Returns what a recipe's steps have to be tracked; loss scaling adds SKIPPED."""
    used = {
        "loss": True,
        "cross_entropy": True,
        "adversarial_labeled": recipe.lambda_adv,
        "adversarial_unlabeled": recipe.lambda_adv_unlabeled,
        "semi_supervised": recipe.lambda_semi,
        "selected_fraction": recipe.lambda_semi,
        "discriminator": recipe.uses_discriminator,
        "correctness": recipe.uses_discriminator and recipe.lambda_confidence,
        **dict.fromkeys(CONFIDENCES, recipe.uses_discriminator),
    }
    return [name for name, is_used in used.items() if is_used]


def measured(values: Mapping[str, tf.Tensor], tracked: Collection[str]) -> Measured:
    """Returns (value, 1) of each tracked loss, and (0, 0) of one that does not count.

    Those are the losses that this step has not, and those that are no numbers because the
    arithmetic overflowed, where loss scaling has left the update out for it.

    Args:
      values: of a step, float32 [] each.
      tracked: their names, and those of losses that other steps have.
    """
    absent = tf.constant(0.0), tf.constant(0.0)
    left_out = [values[name] for name in SKIPPED if name in values]
    found = {name: (values[name], tf.constant(1.0)) for name in values}
    if left_out:
        kept = tf.equal(tf.add_n(left_out), 0)
        for name, value in values.items():
            counts = kept | tf.math.is_finite(value)
            found[name] = tf.where(counts, value, 0.0), tf.cast(counts, tf.float32)
    return {name: found.get(name, absent) for name in tracked}


def track(trackers: Mapping[str, keras.metrics.Mean], measured: Measured) -> dict[str, tf.Tensor]:
    """Adds a step to the means, and returns them; float32 [] each."""
    for name, (value, weight) in measured.items():
        trackers[name].update_state(value, weight)
    return {name: tracker.result() for name, tracker in trackers.items()}
