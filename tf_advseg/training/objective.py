"""What one step minimises: forward passes and both networks' losses, as the recipe has them."""

from typing import NamedTuple

import keras
import tensorflow as tf

from tf_advseg.data import VOID_LABEL
from tf_advseg.models.discriminator import confidence, judge, realness
from tf_advseg.recipe import SEPARATE, Recipe
from tf_advseg.training import adversarial, losses, pseudo_labels, replicas
from tf_advseg.training.cutmix import mixed
from tf_advseg.training.pseudo_labels import PseudoLabels

#: What is known of the discriminator beside the losses; see `Objective.confidences`.
CONFIDENCE_TRUE, CONFIDENCE_PREDICTED = CONFIDENCES = ("confidence_true", "confidence_predicted")


class Batch(NamedTuple):
    """What a step sees; parts of a kind of images that it does not see are None.

    `distorted` and `boxes` are a harder view of the unlabeled images, as the pipeline gives it;
    `taught` is what a teacher says of it.
    """

    labeled_images: tf.Tensor | None
    labels: tf.Tensor | None
    unlabeled_images: tf.Tensor | None = None
    valid: tf.Tensor | None = None
    distorted: tf.Tensor | None = None
    boxes: tf.Tensor | None = None
    taught: PseudoLabels | None = None


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
      discriminator: as `models.discriminator.build_discriminator` returns it; or None.
      recipe: the terms and their weights.
      averaged: the segmenter with averaged weights; None if the recipe has no teacher.
      seed: of the noise on what the discriminator sees.
    """

    def __init__(
        self,
        segmenter: keras.Model,
        discriminator: keras.Model | None,
        recipe: Recipe,
        averaged: keras.Model | None = None,
        seed: int = 0,
    ):
        self._segmenter, self._discriminator, self._recipe = segmenter, discriminator, recipe
        self._averaged, self._seed = averaged, seed
        self._game = adversarial.game(recipe.adversarial_loss, recipe.label_smoothing)

    def taught(self, batch: Batch) -> Batch:
        """Returns a batch whose unlabeled images are the harder view, with what a teacher says.

        The teacher sees the images as they are. Its pseudo-labels are mixed as the images are.
        Without a teacher, or unlabeled images, the batch stays as it is.
        """
        if not self._recipe.teacher or batch.unlabeled_images is None:
            return batch
        images, valid, boxes = batch.unlabeled_images, batch.valid, batch.boxes
        probabilities = tf.nn.softmax(self._averaged(images, training=False))
        sure = None
        if self._discriminator is not None:
            sure = confidence(judge(self._discriminator, probabilities, images))
        labels = pseudo_labels.from_teacher(probabilities, sure, valid, self._recipe)
        return batch._replace(
            unlabeled_images=mixed(batch.distorted, boxes),
            valid=mixed(valid, boxes),
            taught=PseudoLabels(*(mixed(part, boxes) for part in labels)),
        )

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

    def judge(self, logits: Maps, batch: Batch, step: tf.Tensor) -> Maps:
        """Runs the discriminator over predictions and truth; its logits of each.

        Each kind goes through it by itself: neither network's loss is of all three, and a backward
        pass through one batch of all would compute the gradients of the rest to be zero.
        """
        inputs = {
            kind: (tf.nn.softmax(values), images)
            for kind, values, images in (
                ("labeled", logits.labeled, batch.labeled_images),
                ("unlabeled", logits.unlabeled, batch.unlabeled_images),
            )
            if values is not None
        }
        if batch.labels is not None:
            probabilities, images = inputs["labeled"]
            peak = self._recipe.truth_peak
            inputs["true"] = adversarial.shown_truth(batch.labels, probabilities, peak), images
        # Spectral normalisation renews the kernels at a training call: at the first one of a step.
        return Maps(
            **{
                kind: judge(
                    self._discriminator, self._noisy(maps, index, step), images, training=index == 0
                )
                for index, (kind, (maps, images)) in enumerate(inputs.items())
            }
        )

    def _noisy(self, maps: tf.Tensor, kind: int, step: tf.Tensor) -> tf.Tensor:
        deviation = self._recipe.instance_noise
        if not deviation:
            return maps
        seed = tf.stack([tf.constant(3 * self._seed + kind, tf.int64), step])
        return maps + adversarial.noise(tf.shape(maps), deviation, seed)

    def discriminator_losses(
        self, logits: Maps, judged: Maps, batch: Batch
    ) -> dict[str, tf.Tensor]:
        """Returns "discriminator", L_D (equation 1), and "correctness", if it learns that.

        Predictions are labeled images', and unlabeled images' too if the recipe says so; then all
        pixels that count have one mean, as in the authors' code.
        """
        recipe, counts = self._recipe, batch.labels != VOID_LABEL
        fakes, fakes_count = judged.labeled, counts
        if recipe.unlabeled_fakes and judged.unlabeled is not None:
            fakes = tf.concat([fakes, judged.unlabeled], axis=0)
            fakes_count = tf.concat([counts, batch.valid], axis=0)
        predicted = losses.masked_mean(self._game.predicted(realness(fakes)), fakes_count)
        true = losses.masked_mean(self._game.true(realness(judged.true)), counts)
        values = {"discriminator": recipe.discriminator_loss_scale * (predicted + true)}
        if recipe.lambda_confidence:
            class_ids = tf.argmax(logits.labeled, -1, tf.int32)
            values["correctness"] = losses.correctness(
                judged.labeled[..., -1], class_ids, batch.labels
            )
        return values

    def discriminator_loss(self, values: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns what the discriminator minimises, of its losses; float32 []."""
        loss = values["discriminator"]
        if floor := self._recipe.discriminator_floor:
            # Of all replicas: one that stands still alone would come apart from the others.
            loss *= tf.cast(replicas.summed(tf.stop_gradient(loss)) > floor, tf.float32)
        return loss + self._recipe.lambda_confidence * values.get("correctness", 0.0)

    def confidences(self, judged: Maps, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns how true the discriminator takes true labels, and predictions, to be.

        Both are means in 0-1 over the pixels of labeled images that count, float32 []. A
        discriminator that has won says 1 and 0; one that cannot tell them apart, the same of both.
        """
        counts = batch.labels != VOID_LABEL
        return {
            name: losses.masked_mean(tf.sigmoid(realness(logits)), counts)
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
            values["adversarial_labeled"] = self._seen_through(judged.labeled, counts)
        return values

    def _unlabeled_losses(self, logits: Maps, judged: Maps, batch: Batch) -> dict[str, tf.Tensor]:
        recipe, values = self._recipe, {}
        if recipe.lambda_adv_unlabeled:
            values["adversarial_unlabeled"] = self._seen_through(judged.unlabeled, batch.valid)
        if recipe.lambda_semi:
            labels = batch.taught or self._own_labels(logits, judged, batch)
            values["semi_supervised"] = labels.loss(logits.unlabeled)
            values["selected_fraction"] = pseudo_labels.selected_share(labels, batch.valid)
        return values

    def _seen_through(self, judged: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """L_adv (equation 4), over the pixels that count."""
        return losses.masked_mean(self._game.seen_through(realness(judged)), counts)

    def _own_labels(self, logits: Maps, judged: Maps, batch: Batch) -> PseudoLabels:
        sure = None if judged.unlabeled is None else confidence(judged.unlabeled)
        return pseudo_labels.own(logits.unlabeled, sure, batch.valid, self._recipe)
