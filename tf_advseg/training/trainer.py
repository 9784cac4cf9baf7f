"""The adversarial trainer: one step that trains the segmenter and the discriminator."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_advseg.data.coin import is_labeled_step
from tf_advseg.evaluation.metrics import MeanIoU
from tf_advseg.models.segmenter import head_variables
from tf_advseg.recipe import COIN_FLIP, ONE_BATCH, SEPARATE, Recipe
from tf_advseg.training import averages, losses, replicas, tracked
from tf_advseg.training.objective import Batch, Maps, Objective
from tf_advseg.training.precision import loss_scale, scale_loss, skipped, unscale_gradients
from tf_advseg.training.tracked import SKIPPED_DISCRIMINATOR, SKIPPED_SEGMENTER, Measured


class AdversarialTrainer(keras.Model):
    """Trains a segmenter against a discriminator, on labeled and unlabeled images (section 3).

    One step takes {"labeled": (image, label), "unlabeled": (image, valid)} as
    `data.pipeline.training_dataset` yields it; the second part only if the recipe has terms on
    unlabeled images, and with a harder view of them if it has a teacher. The discriminator runs
    once on each kind of predictions and on true labels. Both networks' gradients are taken at the
    weights before the step. What the recipe switches off is not computed.

    Where the recipe mixes by a coin, a step uses labeled images or unlabeled ones, by (seed, step)
    as in `data.coin`. The discriminator learns in the labeled steps.

    Made under a strategy of several replicas, it trains as one replica would that holds the whole
    batch: losses and gradients are of all of it (`training.replicas`). For batch norm to be, give
    it networks from `training.synchronized`.

    Args:
      segmenter: images [B, H, W, 3] -> logits [B, H, W, C].
      discriminator: as `models.discriminator.build_discriminator` returns it; not needed by a
        recipe without adversarial terms.
      recipe: the loss terms; None means the published weights of the whole method.
      averaged: a second segmenter, which gets the averages of the first one's weights, as they are
        now and after each step; needed by a recipe that averages weights.
      seed: of the coin and of noise; that of the data set, if it yields one kind of images a step.

    Raises:
      ValueError: a network that the recipe needs is missing, or it has a teacher without averages
        or with a coin.

    Attributes:
      step: int64 variable, the number of steps taken. It is the trainer's own because `fit` sets
        Keras' counter back to zero.
    """

    def __init__(
        self,
        segmenter: keras.Model,
        discriminator: keras.Model | None = None,
        recipe: Recipe | None = None,
        *,
        averaged: keras.Model | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        recipe = recipe or Recipe()
        if recipe.uses_discriminator and discriminator is None:
            raise ValueError("this recipe has adversarial terms and needs a discriminator")
        if recipe.ema_decay and averaged is None:
            raise ValueError("this recipe averages weights and needs a network for them")
        if recipe.teacher and not recipe.ema_decay:
            raise ValueError("this recipe has a teacher and needs an ema_decay above 0")
        if recipe.teacher and recipe.mixing == COIN_FLIP:
            raise ValueError(
                "this recipe has a teacher, which needs labeled and unlabeled images in each step, "
                f"and the mixing {COIN_FLIP}; allowed: {ONE_BATCH} or {SEPARATE}"
            )
        self.segmenter = segmenter
        self.discriminator = discriminator if recipe.uses_discriminator else None
        self.averaged = averaged if recipe.ema_decay else None
        if self.averaged is not None:
            averages.restart(self.averaged, segmenter)
        self.recipe = recipe
        self.num_classes = segmenter.output_shape[-1]
        self._objective = Objective(segmenter, self.discriminator, recipe, self.averaged, seed)
        self._seed = seed
        self.step = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            name="step",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        # What a step returns is the same on every replica, and not to be added up.
        self.distribute_reduction_method = "first"
        self._head = {variable.ref() for variable in head_variables(segmenter)}
        self._trackers = {name: replicas.SharedMean(name=name) for name in tracked.names(recipe)}
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
            self._track_skipped(SKIPPED_DISCRIMINATOR, discriminator_optimizer)
        self._track_skipped(SKIPPED_SEGMENTER, optimizer)
        self._phase_metrics = list(self._trackers.values())

    @property
    def evaluated(self) -> keras.Model:
        """The segmenter to validate and export: that of averaged weights, if there is one."""
        return self.averaged or self.segmenter

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the segmenter's logits, float32 [B, H, W, C]."""
        network = self.segmenter if training else self.evaluated
        return network(images, training=training)

    # No step has Python's `if` on a tensor. AutoGraph would take a second to find that out.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, data: dict[str, tuple[tf.Tensor, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """Takes one step of both networks and returns the means of every loss since the reset."""
        batch = self._batch(data)
        if self.recipe.mixing == COIN_FLIP and batch.unlabeled_images is not None:
            measured = self._step_by_coin(batch)
        else:
            measured = self._measured_step(batch)
        # A step whose batch could not be read is none, and TensorFlow would count it all the same.
        with tf.control_dependencies([measured["loss"][0]]):
            self.step.assign_add(1)
        return tracked.track(self._trackers, measured)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Measures cross-entropy and mean IoU on (image, label) batches of one size."""
        images, labels = data
        logits = self(images, training=False)
        cross_entropy, mean_iou = self._validation
        loss = losses.cross_entropy(logits, tf.cast(labels, tf.int32))
        cross_entropy.update_state(replicas.summed(loss))
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

    def _track_skipped(self, name: str, optimizer: keras.optimizers.Optimizer) -> None:
        # Once, though a trainer can be compiled again for more steps at once.
        if loss_scale(optimizer) is not None and name not in self._trackers:
            self._trackers[name] = replicas.SharedMean(name=name)

    def _batch(self, data: dict[str, tuple[tf.Tensor, tf.Tensor]]) -> Batch:
        unlabeled = data["unlabeled"] if self.recipe.uses_unlabeled else ()
        return Batch(*data["labeled"], *unlabeled)

    def _step_by_coin(self, batch: Batch) -> Measured:
        """Takes a step on the labeled images or on the unlabeled ones."""
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync == 1:
            return self._choose(lambda step: step(batch))
        # Replicas wait for each other inside of a step, which TensorFlow allows in a branch only if
        # the choice is made for all of them at once.
        return context.merge_call(
            lambda strategy, batch: self._choose(lambda step: strategy.run(step, (batch,))),
            args=(batch,),
        )

    def _choose(self, run: Callable[[Callable[[Batch], Measured]], Measured]) -> Measured:
        return tf.cond(
            is_labeled_step(self._seed, self.step),
            lambda: run(self._labeled_step),
            lambda: run(self._unlabeled_step),
        )

    def _labeled_step(self, batch: Batch) -> Measured:
        return self._measured_step(Batch(batch.labeled_images, batch.labels))

    def _unlabeled_step(self, batch: Batch) -> Measured:
        return self._measured_step(Batch(None, None, batch.unlabeled_images, batch.valid))

    def _measured_step(self, batch: Batch) -> Measured:
        return tracked.measured(self._step(batch), self._trackers)

    def _step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Updates both networks by a batch, and returns the losses that it has."""
        values, segmenter_gradients, discriminator_gradients = self.gradients(batch)
        # Before the L2 penalty, which every replica has whole; and so that an overflow on one of
        # them is seen by the loss scaling of all.
        #
        # Only once the losses are there: else the counts that optimizers keep would go on though
        # the batch could not be read.
        with tf.control_dependencies([values["loss"]]):
            left_out = self._update_segmenter(replicas.summed(segmenter_gradients))
            if discriminator_gradients is not None:
                gradients = replicas.summed(discriminator_gradients)
                left_out |= self._update_discriminator(gradients)
            if self.averaged is not None:
                averages.update(self.averaged, self.segmenter, self.recipe.ema_decay, self.step)
        values = dict(zip(values, replicas.summed(list(values.values())), strict=True))
        return {**values, **left_out}

    def gradients(
        self, batch: Batch
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor], list[tf.Tensor] | None]:
        """Returns what is tracked, and both networks' gradients of their losses, at these weights.

        On one of several replicas they are its part of those of the whole batch.

        The gradients are of the segmenter's and the discriminator's trainable variables, without
        L2 penalty and before the head's rate; the second are None if the batch has no true labels
        to show to the discriminator, or there is none.
        """
        objective = self._objective
        batch = objective.taught(batch)
        values: dict[str, tf.Tensor] = {}
        judged, discriminator_loss = Maps(), None
        with tf.GradientTape() as segmenter_tape:
            logits = objective.segment(batch)
            if self.discriminator is not None:
                with tf.GradientTape() as discriminator_tape:
                    judged = objective.judge(logits, batch, self.step)
                    if judged.true is not None:
                        values |= objective.discriminator_losses(logits, judged, batch)
                        discriminator_loss = scale_loss(
                            self.discriminator_optimizer, objective.discriminator_loss(values)
                        )
            values |= objective.segmenter_losses(logits, judged, batch, self.step)
            loss = scale_loss(self.optimizer, values["loss"])
        if judged.true is not None:
            # Outside of the tapes: nothing learns from it.
            values |= objective.confidences(judged, batch)
        gradients = segmenter_tape.gradient(loss, self.segmenter.trainable_variables)
        gradients = unscale_gradients(self.optimizer, gradients)
        if discriminator_loss is None:
            return values, gradients, None
        of_discriminator = discriminator_tape.gradient(
            discriminator_loss, self.discriminator.trainable_variables
        )
        return values, gradients, unscale_gradients(self.discriminator_optimizer, of_discriminator)

    def _update_segmenter(self, gradients: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        variables = self.segmenter.trainable_variables
        gradients = [
            self._penalized(gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        return _applied(self.optimizer, gradients, variables, SKIPPED_SEGMENTER)

    def _penalized(self, gradient: tf.Tensor, variable: tf.Variable) -> tf.Tensor:
        """Adds the L2 penalty and then the head's rate, as SGD with parameter groups has it."""
        # Else all penalties, which need nothing but weights, would be made as the step begins.
        with tf.control_dependencies([gradient]):
            gradient += self.recipe.weight_decay * variable
        if variable.ref() in self._head:
            gradient *= self.recipe.head_learning_rate_scale
        return gradient

    def _update_discriminator(self, gradients: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        variables = self.discriminator.trainable_variables
        if decay := self.recipe.discriminator_weight_decay:
            gradients = [g + decay * v for g, v in zip(gradients, variables, strict=True)]
        return _applied(self.discriminator_optimizer, gradients, variables, SKIPPED_DISCRIMINATOR)


def _applied(
    optimizer: keras.optimizers.Optimizer,
    gradients: list[tf.Tensor],
    variables: list[tf.Variable],
    name: str,
) -> dict[str, tf.Tensor]:
    """Updates the variables; under loss scaling, returns by `name` 1 if that was left out, or 0."""
    scale = loss_scale(optimizer)
    optimizer.apply_gradients(
        zip(gradients, variables, strict=True), skip_gradients_aggregation=True
    )
    return {} if scale is None else {name: skipped(optimizer, scale)}
