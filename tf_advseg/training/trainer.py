"""The adversarial trainer: one step that trains the segmenter and the discriminator."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_advseg.data import VOID_LABEL
from tf_advseg.evaluation.metrics import MeanIoU
from tf_advseg.models.segmenter import head_variables
from tf_advseg.recipe import Recipe
from tf_advseg.training import losses
from tf_advseg.training.precision import scale_loss, unscale_gradients

PREDICTED, TRUE = 0.0, 1.0  # What the discriminator is to say of a prediction and of a true label.


class Batch(NamedTuple):
    """A step's input; the last two are None if the recipe has no terms on unlabeled images."""

    labeled_images: tf.Tensor
    labels: tf.Tensor
    unlabeled_images: tf.Tensor | None = None
    valid: tf.Tensor | None = None


class Maps(NamedTuple):
    """A map for each kind of input: of labeled images, of unlabeled images, of true labels."""

    labeled: tf.Tensor
    unlabeled: tf.Tensor | None = None
    true: tf.Tensor | None = None


class AdversarialTrainer(keras.Model):
    """Trains a segmenter against a discriminator, on labeled and unlabeled images (section 3).

    One step takes {"labeled": (image, label), "unlabeled": (image, valid)} as
    `data.pipeline.training_dataset` yields it; the second part only if the recipe has terms on
    unlabeled images. The segmenter runs once, on all images. The discriminator runs once, on all
    predictions and true labels. Both networks' gradients are taken at the weights before the step.
    What the recipe switches off is not computed.

    Args:
      segmenter: images [B, H, W, 3] -> logits [B, H, W, C].
      discriminator: probabilities [B, H, W, C] -> logits [B, H, W, 1]; not needed by a recipe
        without adversarial terms.
      recipe: the loss terms; None means the published weights of the whole method.

    Attributes:
      step: int64 variable, the number of steps taken. It is the trainer's own because `fit` sets
        Keras' counter back to zero.
    """

    def __init__(
        self,
        segmenter: keras.Model,
        discriminator: keras.Model | None = None,
        recipe: Recipe | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        recipe = recipe or Recipe()
        if recipe.uses_discriminator and discriminator is None:
            raise ValueError("this recipe has adversarial terms and needs a discriminator")
        self.segmenter = segmenter
        self.discriminator = discriminator if recipe.uses_discriminator else None
        self.recipe = recipe
        self.num_classes = segmenter.output_shape[-1]
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
        self._head = {variable.ref() for variable in head_variables(segmenter)}
        self._trackers = {name: keras.metrics.Mean(name=name) for name in self._tracked()}
        self._validation = [
            keras.metrics.Mean(name="cross_entropy"),
            MeanIoU(self.num_classes, name="mean_iou"),
        ]
        self._phase_metrics = list(self._trackers.values())

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer | None = None,
        **kwargs: Any,
    ) -> None:
        """Takes the two optimizers (`training.optimizers`), each with its own loss scaling."""
        if self.discriminator is not None and discriminator_optimizer is None:
            raise ValueError("this recipe trains a discriminator and needs its optimizer")
        super().compile(optimizer=optimizer, **kwargs)
        self.discriminator_optimizer = discriminator_optimizer
        # Built now, so that a checkpoint can be restored before the first step.
        self.optimizer.build(self.segmenter.trainable_variables)
        if self.discriminator is not None:
            self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the segmenter's logits, float32 [B, H, W, C]."""
        return self.segmenter(images, training=training)

    def train_step(self, data: dict[str, tuple[tf.Tensor, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """Takes one step of both networks and returns the means of every loss since the reset."""
        batch = self._batch(data)
        values: dict[str, tf.Tensor] = {}
        with tf.GradientTape() as segmenter_tape:
            logits = self._segment(batch)
            if self.discriminator is None:
                judged = Maps(labeled=None)
            else:
                with tf.GradientTape() as discriminator_tape:
                    judged = self._judge(logits, batch.labels)
                    values["discriminator"] = self._discriminator_loss(judged, batch)
                    discriminator_loss = scale_loss(
                        self.discriminator_optimizer, values["discriminator"]
                    )
            values |= self._segmenter_losses(logits, judged, batch)
            segmenter_loss = scale_loss(self.optimizer, values["loss"])
        self._update_segmenter(segmenter_tape, segmenter_loss)
        if self.discriminator is not None:
            self._update_discriminator(discriminator_tape, discriminator_loss)
        self.step.assign_add(1)
        return self._track(values)

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Measures cross-entropy and mean IoU on (image, label) batches of one size."""
        images, labels = data
        logits = self(images, training=False)
        cross_entropy, mean_iou = self._validation
        cross_entropy.update_state(losses.cross_entropy(logits, tf.cast(labels, tf.int32)))
        mean_iou.update_state(labels, logits)
        return {metric.name: metric.result() for metric in self._validation}

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `evaluate`. Keras wants a step to return just the metrics that the model lists."""
        self._phase_metrics = self._validation
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._phase_metrics = list(self._trackers.values())

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self._phase_metrics

    def _tracked(self) -> list[str]:
        recipe = self.recipe
        names = {
            "loss": True,
            "cross_entropy": True,
            "adversarial_labeled": recipe.lambda_adv,
            "adversarial_unlabeled": recipe.lambda_adv_unlabeled,
            "semi_supervised": recipe.lambda_semi,
            "selected_fraction": recipe.lambda_semi,
            "discriminator": recipe.uses_discriminator,
        }
        return [name for name, used in names.items() if used]

    def _batch(self, data: dict[str, tuple[tf.Tensor, tf.Tensor]]) -> Batch:
        unlabeled = data["unlabeled"] if self.recipe.uses_unlabeled else (None, None)
        return Batch(*data["labeled"], *unlabeled)

    def _segment(self, batch: Batch) -> Maps:
        """Runs the segmenter once over all images; logits float32 [B, H, W, C] of each kind."""
        if batch.unlabeled_images is None:
            return Maps(self.segmenter(batch.labeled_images, training=True))
        images = tf.concat([batch.labeled_images, batch.unlabeled_images], axis=0)
        return Maps(*tf.split(self.segmenter(images, training=True), 2))

    def _judge(self, logits: Maps, labels: tf.Tensor) -> Maps:
        """Runs the discriminator once over predictions and truth; logits float32 [B, H, W, 1].

        The one-hot label of a void pixel is all zeros, as in the authors' code (train.py).
        """
        inputs = [tf.nn.softmax(kind) for kind in logits if kind is not None]
        inputs.append(tf.one_hot(labels, self.num_classes))
        judged = tf.split(self.discriminator(tf.concat(inputs, 0), training=True), len(inputs))
        return Maps(judged[0], judged[1] if len(judged) == 3 else None, judged[-1])

    def _discriminator_loss(self, judged: Maps, batch: Batch) -> tf.Tensor:
        """L_D (equation 1): labeled images' predictions against 0, their labels against 1."""
        counts = batch.labels != VOID_LABEL
        predicted = losses.binary_cross_entropy(judged.labeled, PREDICTED, counts)
        true = losses.binary_cross_entropy(judged.true, TRUE, counts)
        return predicted + true

    def _segmenter_losses(self, logits: Maps, judged: Maps, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns "loss", the weighted sum (equation 2), and each of its terms unweighted."""
        recipe = self.recipe
        values = {"cross_entropy": losses.cross_entropy(logits.labeled, batch.labels)}
        loss = values["cross_entropy"]
        if recipe.lambda_adv:
            adversarial = losses.binary_cross_entropy(
                judged.labeled, TRUE, batch.labels != VOID_LABEL
            )
            values["adversarial_labeled"] = adversarial
            loss += recipe.lambda_adv * adversarial
        if recipe.lambda_adv_unlabeled:
            adversarial = losses.binary_cross_entropy(judged.unlabeled, TRUE, batch.valid)
            values["adversarial_unlabeled"] = adversarial
            loss += recipe.lambda_adv_unlabeled * adversarial
        if recipe.lambda_semi:
            semi, selected = losses.semi_supervised(
                logits.unlabeled, judged.unlabeled, batch.valid, recipe.t_semi
            )
            values |= {"semi_supervised": semi, "selected_fraction": selected}
            started = tf.cast(self.step >= recipe.semi_start, semi.dtype)
            loss += recipe.lambda_semi * started * semi
        return {"loss": loss, **values}

    def _update_segmenter(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        variables = self.segmenter.trainable_variables
        gradients = unscale_gradients(self.optimizer, tape.gradient(loss, variables))
        gradients = [
            self._penalized(gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def _penalized(self, gradient: tf.Tensor, variable: tf.Variable) -> tf.Tensor:
        """Adds the L2 penalty and then the head's rate, as SGD with parameter groups has it."""
        gradient += self.recipe.weight_decay * variable
        if variable.ref() in self._head:
            gradient *= self.recipe.head_learning_rate_scale
        return gradient

    def _update_discriminator(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        variables = self.discriminator.trainable_variables
        optimizer = self.discriminator_optimizer
        gradients = unscale_gradients(optimizer, tape.gradient(loss, variables))
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def _track(self, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, tracker in self._trackers.items():
            tracker.update_state(values[name])
        return {name: tracker.result() for name, tracker in self._trackers.items()}
