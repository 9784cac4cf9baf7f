"""What one step minimises: forward passes and both networks' losses, as the recipe has them."""

from typing import NamedTuple

import keras
import tensorflow as tf

from tf_advseg.data import VOID_LABEL
from tf_advseg.recipe import SEPARATE, Recipe
from tf_advseg.training import losses

PREDICTED, TRUE = 0.0, 1.0  # What the discriminator is to say of a prediction and of a true label.

#: What is known of the discriminator beside the losses; see `Objective.confidences`.
CONFIDENCE_TRUE, CONFIDENCE_PREDICTED = CONFIDENCES = ("confidence_true", "confidence_predicted")


class Batch(NamedTuple):
    """What a step sees; both parts of a kind of images that it does not see are None."""

    labeled_images: tf.Tensor | None
    labels: tf.Tensor | None
    unlabeled_images: tf.Tensor | None = None
    valid: tf.Tensor | None = None


class Maps(NamedTuple):
    """A map for each kind of input: of labeled images, of unlabeled images, of true labels."""

    labeled: tf.Tensor | None = None
    unlabeled: tf.Tensor | None = None
    true: tf.Tensor | None = None


class Objective:
    """The losses of a recipe on a batch.

    Which forward passes exist is decided when the step is traced, by the recipe and by what the
    batch holds.

    Args:
      segmenter: images [B, H, W, 3] -> logits [B, H, W, C].
      discriminator: probabilities [B, H, W, C] -> logits [B, H, W, 1]; or None.
      recipe: the terms and their weights.
    """

    def __init__(self, segmenter: keras.Model, discriminator: keras.Model | None, recipe: Recipe):
        self._segmenter, self._discriminator, self._recipe = segmenter, discriminator, recipe
        self._num_classes = segmenter.output_shape[-1]

    def segment(self, batch: Batch) -> Maps:
        """Runs the segmenter over all images; logits float32 [B, H, W, C] of each kind."""
        labeled, unlabeled = batch.labeled_images, batch.unlabeled_images
        if labeled is None:
            return Maps(unlabeled=self._segmenter(unlabeled, training=True))
        if unlabeled is None:
            return Maps(self._segmenter(labeled, training=True))
        if self._recipe.mixing == SEPARATE:
            # In the authors' order, which the running statistics of batch norm depend on.
            second = self._segmenter(unlabeled, training=True)
            return Maps(self._segmenter(labeled, training=True), second)
        both = self._segmenter(tf.concat([labeled, unlabeled], axis=0), training=True)
        return Maps(*tf.split(both, 2))

    def judge(self, logits: Maps, batch: Batch) -> Maps:
        """Runs the discriminator over predictions and truth; logits float32 [B, H, W, 1] of each.

        Each kind goes through it by itself: neither network's loss is of all three, and a backward
        pass through one batch of all would compute the gradients of the rest to be zero.

        The one-hot label of a void pixel is all zeros, as in the authors' code (train.py).
        """
        inputs = {
            kind: tf.nn.softmax(values)
            for kind, values in logits._asdict().items()
            if values is not None
        }
        if batch.labels is not None:
            inputs["true"] = tf.one_hot(batch.labels, self._num_classes)
        # Spectral normalisation renews the kernels at a training call: at the first one of a step.
        return Maps(
            **{
                kind: self._discriminator(values, training=index == 0)
                for index, (kind, values) in enumerate(inputs.items())
            }
        )

    def discriminator_loss(self, judged: Maps, batch: Batch) -> tf.Tensor:
        """L_D (equation 1): predictions against 0, true labels against 1 or a little less.

        Predictions are labeled images', and unlabeled images' too if the recipe says so; then all
        pixels that count have one mean, as in the authors' code.
        """
        counts = batch.labels != VOID_LABEL
        fakes, fakes_count = judged.labeled, counts
        if self._recipe.unlabeled_fakes and judged.unlabeled is not None:
            fakes = tf.concat([fakes, judged.unlabeled], axis=0)
            fakes_count = tf.concat([counts, batch.valid], axis=0)
        predicted = losses.binary_cross_entropy(fakes, PREDICTED, fakes_count)
        target = TRUE - self._recipe.label_smoothing
        true = losses.binary_cross_entropy(judged.true, target, counts)
        return self._recipe.discriminator_loss_scale * (predicted + true)

    def confidences(self, judged: Maps, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns how true the discriminator takes true labels, and predictions, to be.

        Both are means in 0-1 over the pixels of labeled images that count, float32 []. A
        discriminator that has won says 1 and 0; one that cannot tell them apart, the same of both.
        """
        counts = batch.labels != VOID_LABEL
        return {
            name: losses.masked_mean(tf.sigmoid(tf.squeeze(logits, -1)), counts)
            for name, logits in (
                (CONFIDENCE_TRUE, judged.true),
                (CONFIDENCE_PREDICTED, judged.labeled),
            )
        }

    def segmenter_losses(
        self, logits: Maps, judged: Maps, batch: Batch, step: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns "loss", the weighted sum (equation 2), and each of its terms unweighted."""
        values, loss = {}, tf.constant(0.0)
        if logits.labeled is not None:
            values |= self._labeled_losses(logits, judged, batch)
            loss += values["cross_entropy"]
            loss += self._recipe.lambda_adv * values.get("adversarial_labeled", 0.0)
        if logits.unlabeled is not None:
            values |= self._unlabeled_losses(logits, judged, batch)
            loss += self._recipe.lambda_adv_unlabeled * values.get("adversarial_unlabeled", 0.0)
            started = tf.cast(step >= self._recipe.semi_start, tf.float32)
            loss += self._recipe.lambda_semi * started * values.get("semi_supervised", 0.0)
        return {"loss": loss, **values}

    def _labeled_losses(self, logits: Maps, judged: Maps, batch: Batch) -> dict[str, tf.Tensor]:
        values = {"cross_entropy": losses.cross_entropy(logits.labeled, batch.labels)}
        if self._recipe.lambda_adv:
            counts = batch.labels != VOID_LABEL
            adversarial = losses.binary_cross_entropy(judged.labeled, TRUE, counts)
            values["adversarial_labeled"] = adversarial
        return values

    def _unlabeled_losses(self, logits: Maps, judged: Maps, batch: Batch) -> dict[str, tf.Tensor]:
        values = {}
        if self._recipe.lambda_adv_unlabeled:
            adversarial = losses.binary_cross_entropy(judged.unlabeled, TRUE, batch.valid)
            values["adversarial_unlabeled"] = adversarial
        if self._recipe.lambda_semi:
            semi, selected = losses.semi_supervised(
                logits.unlabeled, judged.unlabeled, batch.valid, self._recipe.t_semi
            )
            values |= {"semi_supervised": semi, "selected_fraction": selected}
        return values
