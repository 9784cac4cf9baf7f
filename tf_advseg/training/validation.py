"""Validation of a run: what its networks are worth, and pictures of what they say."""

import keras
import numpy as np
import tensorflow as tf

from tf_advseg.data import unreadable
from tf_advseg.data.files import TrainingFiles
from tf_advseg.evaluation import evaluator, strips
from tf_advseg.evaluation.inference import Prediction, Predictor
from tf_advseg.evaluation.protocols import Protocol
from tf_advseg.evaluation.selection import Histogram
from tf_advseg.models.segmenter import padding_color
from tf_advseg.saved_run import build_networks
from tf_advseg.train_options import TrainConfig
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.workers import Workers

_STRIPS = 4  # Validation images shown in TensorBoard.


class Validation:
    """Measures the networks of a run on its validation images.

    Each worker sees a part of the images, on one device, and the counts are summed.

    Args:
      config: of the run.
      files: of which those for validation are read.
      trainer: whose networks are measured, as they are at the time.
      workers: of the run.

    Attributes:
      protocol: what of an image is seen.
    """

    def __init__(
        self,
        config: TrainConfig,
        files: TrainingFiles,
        trainer: AdversarialTrainer,
        workers: Workers,
    ):
        self._config, self._files, self._workers = config, files, workers
        self.protocol = Protocol(
            config.eval_protocol,
            config.eval_size,
            config.seed,
            files.classes.background if config.void_as_background else None,
        )
        self._trained = own = trainer.evaluated, trainer.discriminator
        if trainer.distribute_strategy.num_replicas_in_sync > 1:
            # Replicated variables are read by all replicas together, for each operation.
            own = build_networks(config, len(files.classes), config.precision)
        self._own = own
        self._confidence_name = (
            strips.LARGEST_PROBABILITY if trainer.discriminator is None else strips.CONFIDENCE
        )
        self._predict = self.protocol.wrap(
            Predictor(*own, input_scale=config.input_scale), padding_color(own[0])
        )
        self._part = workers.share(len(files.validation.ids))
        # Once: TensorFlow keeps the graphs of every data set that is made.
        self._images = self.protocol.images(files.validation, self._part)

    def measure(self) -> tuple[evaluator.Scores, dict[str, np.ndarray]]:
        """Returns the scores over all images, and strips of some by id, uint8 [H, W, 3].

        All workers must call it. Strips are of the worker's own part, evenly spread over it:
        neighbours may be frames of one video.
        """
        for own, trained in zip(self._own, self._trained, strict=True):
            if own is not trained:
                _copy_weights(trained, own)
        validation = self._files.validation
        part = self._part
        count = min(_STRIPS, len(part))
        to_show = {len(part) * index // count for index in range(count)}
        shown: dict[str, np.ndarray] = {}
        ids = enumerate(validation.ids[index] for index in part)

        def draw(image: tf.Tensor, label: tf.Tensor, prediction: Prediction) -> None:
            place, image_id = next(ids)
            if place in to_show:
                class_ids, confidence = prediction.class_ids[0], prediction.confidence[0]
                maps = (m.numpy() for m in (image, label, class_ids, confidence))
                shown[image_id] = strips.strip(*maps, self._files.classes, self._confidence_name)

        with unreadable.naming_unreadable(validation.images, validation.labels):
            scores = evaluator.evaluate(
                self._predict, self._images, len(self._files.classes), self._config.t_semi, draw
            )
        return self._summed(scores), shown

    def _summed(self, scores: evaluator.Scores) -> evaluator.Scores:
        """Returns the scores of all workers' images."""
        total = self._workers.summed

        def summed(histogram: Histogram) -> Histogram:
            return Histogram(histogram.thresholds, total(histogram.counts))

        return evaluator.Scores(
            total(scores.confusion),
            summed(scores.confidence),
            summed(scores.probability),
            scores.t_semi,
            int(total(np.array(scores.images))),
            float(total(np.array(scores.cross_entropy_sum))),
        )


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    for variable, value in zip(target.weights, source.weights, strict=True):
        variable.assign(value.read_value())
