"""One training run: from a configuration and its files to a finished run folder."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_advseg import flags, textfile
from tf_advseg.cluster import ALONE, Cluster
from tf_advseg.config import CHECKPOINTS, CLASSES_FILE, CONFIG_FILE, SPLIT_FILE, TrainConfig
from tf_advseg.data import pipeline, service
from tf_advseg.data.files import TrainingFiles
from tf_advseg.errors import InputError, Interrupted
from tf_advseg.evaluation import evaluator, tables
from tf_advseg.evaluation import results as results_file
from tf_advseg.models.segmenter import normalization_of
from tf_advseg.options import LOG_EVERY
from tf_advseg.progress import Progress
from tf_advseg.recipe import COIN_FLIP
from tf_advseg.saved_run import build_networks
from tf_advseg.training import batches, callbacks, devices, initial_weights, optimizers
from tf_advseg.training import strategy as strategies
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.precision import default_precision
from tf_advseg.training.stopwatch import Stopwatch
from tf_advseg.training.synchronized import synchronized
from tf_advseg.training.tensorboard import TrainSummaries, ValidationSummaries
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.validation import Validation
from tf_advseg.training.workers import Workers

TENSORBOARD = "tensorboard"
#: At most, on a GPU: signals, and losses that are no numbers, are seen after the last of them.
_GPU_STEPS_PER_EXECUTION = 10


def train(config: TrainConfig, files: TrainingFiles, cluster: Cluster = ALONE) -> dict[str, Any]:
    """Trains to the last step, from the run folder's last checkpoint if it has one.

    Of several workers each calls it; they train one run, and the chief writes it.

    Args:
      config: every setting of the run.
      files: its data, checked.
      cluster: the workers.

    Returns:
      the values of the results.json that it writes.

    Raises:
      InputError: an image that cannot be read, pretrained weights that do not fit, a batch that
        cannot be parted, or a data service that cannot be reached.
      Interrupted: by Ctrl-C or SIGTERM, after a checkpoint.
      WorkerLost: another worker is gone.
    """
    if config.data_service:
        service.wait_for(config.data_service)
    strategy = strategies.choose(config.strategy, cluster, config.batch_size)
    workers = Workers(strategy, cluster)
    with workers.naming_lost():
        return _train(config, files, strategy, workers)


def _train(
    config: TrainConfig, files: TrainingFiles, strategy: tf.distribute.Strategy, workers: Workers
) -> dict[str, Any]:
    config = dataclasses.replace(config, precision=config.precision or default_precision())
    used = devices.describe(strategy.num_replicas_in_sync, workers.count)
    print(f"training on {used}, in {config.precision}")
    if warning := devices.missing_gpu():
        print(f"warning: {warning}", file=sys.stderr)
    run_dir = Path(config.run_dir)
    _make_folder(run_dir)
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        if tf.train.latest_checkpoint(str(run_dir / CHECKPOINTS)) is None:
            config, trainer = _begin(config, files.classes.names)
        else:
            trainer = build_trainer(config, len(files.classes))
    # Only now: a run that could not begin leaves an empty folder, which can be used again. And
    # every worker has looked into the folder before the chief writes to it.
    if workers.is_chief:
        _write_settings(run_dir, config, files)
    checkpoints = Checkpoints(run_dir, trainer, writes=workers.is_chief)
    if first_step := checkpoints.restore():
        print(f"resumed at step {first_step} of {config.steps}")
    session = _Session(config, files, trainer, checkpoints, first_step, workers)
    if first_step < config.steps:
        session.fit()
    if session.signals.received is not None:
        step = int(trainer.step.numpy())
        print(f"stopped at step {step}; go on with --run_dir {run_dir} --resume")
        raise Interrupted(session.signals.received)
    results = session.results()
    if workers.is_chief:
        results_file.write(run_dir / results_file.RESULTS_FILE, results)
    return results


def _begin(
    config: TrainConfig, class_names: tuple[str, ...]
) -> tuple[TrainConfig, AdversarialTrainer]:
    """Returns a new run's trainer with its initial weights, and what those decided."""
    weights = initial_weights.look(config)
    config = dataclasses.replace(
        config,
        backbone_style=weights.style,
        normalization=config.normalization or weights.normalization,
    )
    trainer = build_trainer(config, len(class_names))
    for line in initial_weights.load(trainer.segmenter, config, weights, class_names):
        print(line)
    normalization = normalization_of(trainer.segmenter)
    if weights.normalization not in (None, normalization):
        print(
            f"warning: --weights were trained with --normalization {weights.normalization}, "
            f"and get {normalization}",
            file=sys.stderr,
        )
    return dataclasses.replace(config, normalization=normalization), trainer


def build_trainer(config: TrainConfig, num_classes: int) -> AdversarialTrainer:
    """Builds both networks with random weights, and their trainer, compiled.

    Under a strategy's scope, it trains on all of its replicas.
    """
    segmenter, discriminator = build_networks(config, num_classes, config.precision)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        segmenter = synchronized(segmenter)  # The discriminator has no batch norm.
    trainer = AdversarialTrainer(segmenter, discriminator, config.recipe(), seed=config.seed)
    schedule = {"power": config.poly_power, "precision": config.precision}
    trainer.compile(
        optimizers.segmenter_optimizer(
            config.learning_rate,
            config.steps,
            momentum=config.momentum,
            nesterov=config.nesterov,
            **schedule,
        ),
        optimizers.discriminator_optimizer(
            config.discriminator_learning_rate,
            config.steps,
            name=config.discriminator_optimizer,
            betas=config.discriminator_betas,
            momentum=config.discriminator_momentum,
            step=trainer.step,
            **schedule,
        ),
    )
    return trainer


def _write_settings(run_dir: Path, config: TrainConfig, files: TrainingFiles) -> None:
    """Writes what the run is, so that evaluation and export need nothing but its folder."""
    try:
        # First what makes it a run: one that is killed in between can be resumed.
        settings = dataclasses.replace(config, resume=False)
        textfile.write(run_dir / CONFIG_FILE, flags.to_json(settings))
        textfile.write(run_dir / CLASSES_FILE, files.classes.to_json())
        textfile.write(run_dir / SPLIT_FILE, files.split.to_json())
    except OSError as error:
        raise InputError(f"cannot write to --run_dir {run_dir}: {error.strerror}") from None


def _make_folder(run_dir: Path) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make --run_dir {run_dir}: {error.strerror}") from None


class _Session:
    """The part of a run that this process does: the rest of its steps."""

    def __init__(
        self,
        config: TrainConfig,
        files: TrainingFiles,
        trainer: AdversarialTrainer,
        checkpoints: Checkpoints,
        first_step: int,
        workers: Workers,
    ):
        self._config, self._files, self._trainer = config, files, trainer
        self._checkpoints, self._first_step, self._workers = checkpoints, first_step, workers
        self._selects = trainer.discriminator is not None
        self._validation = Validation(config, files, trainer, workers)
        recipe = trainer.recipe
        both_kinds = recipe.uses_unlabeled and recipe.mixing != COIN_FLIP
        self._images_per_step = images_per_step = config.batch_size * (2 if both_kinds else 1)
        self._stopwatch = Stopwatch()
        window = min(LOG_EVERY, config.steps)
        folder = Path(config.run_dir) / TENSORBOARD if workers.is_chief else None
        self._train_summaries = TrainSummaries(folder, window, images_per_step, self._stopwatch)
        self._validation_summaries = ValidationSummaries(
            folder, files.classes.names, selects=self._selects
        )
        self._timing = callbacks.Timing(self._stopwatch)
        self._scores: evaluator.Scores | None = None
        self.signals = callbacks.StopOnSignal(workers.largest)
        self._progress = Progress("step", config.steps, done=first_step)

    def fit(self) -> None:
        """Takes the steps that are left."""
        config, trainer = self._config, self._trainer
        self._train_summaries.write_text("config", flags.to_markdown(config))
        if (steps := _steps_per_execution(config, self._first_step)) > 1:
            trainer.compile(
                trainer.optimizer, trainer.discriminator_optimizer, steps_per_execution=steps
            )
        try:
            with (
                pipeline.naming_unreadable((*self._files.labeled.images, *self._files.unlabeled)),
                service.watched(config.data_service),
            ):
                trainer.fit(
                    batches.for_fit(
                        trainer,
                        config,
                        self._files,
                        self._first_step,
                        self._validation.protocol.void_class,
                    ),
                    steps_per_epoch=config.steps - self._first_step,
                    epochs=1,
                    verbose=0,
                    callbacks=[callbacks.Steps(self._callbacks())],
                )
        except (FloatingPointError, Interrupted):
            raise  # Weights that are no numbers; or a second signal, to end at once.
        except Exception:
            # Whatever else failed, such as reading a file, the steps taken so far are good. Several
            # workers save together, which those that did not fail here would not know of.
            if self._workers.count == 1:
                self._checkpoints.save(self._stopwatch.seconds)
            raise

    def _callbacks(self) -> list[callbacks.EveryStep]:
        config, checkpoints, stopwatch = self._config, self._checkpoints, self._stopwatch
        return [
            self._timing,
            callbacks.StopAtNaN(),
            callbacks.ShowProgress(self._progress),
            self._train_summaries,
            callbacks.Validate(
                self._validate, checkpoints, stopwatch, config.eval_every, config.steps
            ),
            callbacks.SaveCheckpoints(checkpoints, stopwatch, config.checkpoint_every),
            self.signals,
        ]

    def results(self) -> dict[str, Any]:
        """Returns the values of results.json, for the last step."""
        config, latest = self._config, self._train_summaries.latest
        scores = self._scores or self._validation.measure()[0]
        best = float(self._checkpoints.best_mean_iou)  # Below 0 until a validation gives a number.
        return {
            **tables.score_values(scores, self._files.classes.names, selects=self._selects),
            "protocol": self._validation.protocol.describe(),
            "best_mean_iou": best if best >= 0 else math.nan,
            "steps": int(self._trainer.step.numpy()),
            "images_per_second": self._timing.steps_per_second * self._images_per_step,
            "training_seconds": float(self._checkpoints.seconds),
            "peak_memory_bytes": devices.peak_memory_bytes(),
            "train_selected_fraction": latest.get("selected_fraction"),
            "discriminator_loss": latest.get("discriminator"),
            "method": config.method,
            "dataset": self._files.classes.name,
            "seed": config.seed,
            "labeled_images": len(self._files.labeled.ids),
            "unlabeled_images": len(self._files.unlabeled),
        }

    def _validate(self, step: int) -> float:
        self._scores, strips = self._validation.measure()
        self._validation_summaries.write(step, self._scores, strips)
        percent = 100 * self._scores.mean_iou
        self._progress.say(f"step {step}: validation mean IoU {percent:.2f} %")
        return self._scores.mean_iou


def _steps_per_execution(config: TrainConfig, first_step: int) -> int:
    """Returns how many steps are taken at once, so that each look falls between two executions.

    Without a setting it is 1 on a CPU, where a look costs nothing, so that signals are seen soon.
    """
    steps = config.steps_per_execution or 1
    if config.steps_per_execution is None and tf.config.list_physical_devices("GPU"):
        due = math.gcd(config.eval_every, config.checkpoint_every, LOG_EVERY)
        steps = max(n for n in range(1, _GPU_STEPS_PER_EXECUTION + 1) if due % n == 0)
    return math.gcd(steps, first_step)
