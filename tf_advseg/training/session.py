"""The part of a run that one process does: the steps that are left, and the results."""

import math
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advseg import flags
from tf_advseg.data import service, unreadable
from tf_advseg.data.files import TrainingFiles
from tf_advseg.errors import Interrupted, OutOfMemory
from tf_advseg.evaluation import evaluator, tables
from tf_advseg.options import LOG_EVERY
from tf_advseg.progress import Progress
from tf_advseg.recipe import COIN_FLIP
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import (
    batches,
    callbacks,
    devices,
    divergence,
    event_files,
    finite,
    health,
    memory,
    run_card,
    tensorboard,
)
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.stopwatch import Stopwatch
from tf_advseg.training.tensorboard import TrainSummaries, ValidationSummaries
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.validation import Validation
from tf_advseg.training.workers import Workers

#: At most, on a GPU: signals, and losses that are no numbers, are seen after the last of them.
_GPU_STEPS_PER_EXECUTION = 10
TENSORBOARD = "tensorboard"  # The folder in that of the run.


class Session:
    """The rest of a run's steps.

    Args:
      config: of the run.
      files: its data.
      trainer: with the weights of the last checkpoint.
      checkpoints: of the run.
      first_step: the number of steps that were taken before.
      workers: of the run.
      command: by which it was begun or resumed.
    """

    def __init__(
        self,
        config: TrainConfig,
        files: TrainingFiles,
        trainer: AdversarialTrainer,
        checkpoints: Checkpoints,
        first_step: int,
        workers: Workers,
        command: str,
    ):
        self._config, self._files, self._trainer = config, files, trainer
        self._checkpoints, self._first_step, self._workers = checkpoints, first_step, workers
        self._command = command
        self._selects = trainer.discriminator is not None
        self._validation = Validation(config, files, trainer, workers)
        recipe = trainer.recipe
        both_kinds = recipe.uses_unlabeled and recipe.mixing != COIN_FLIP
        self._images_per_step = images_per_step = config.batch_size * (2 if both_kinds else 1)
        self._stopwatch = Stopwatch()
        window = min(LOG_EVERY, config.steps)
        self._folder = folder = Path(config.run_dir) / TENSORBOARD if workers.is_chief else None
        if folder is not None:
            for name in (tensorboard.TRAIN, tensorboard.VALIDATION):
                event_files.cut(folder / name, first_step)
        self._train_summaries = TrainSummaries(
            folder, window, images_per_step, self._stopwatch, checkpoints.window
        )
        self._validation_summaries = ValidationSummaries(
            folder, files.classes.names, selects=self._selects
        )
        self._timing = callbacks.Timing(self._stopwatch)
        self._progress = Progress("step", config.steps, done=first_step)
        self._health = health.Health(config, window, self._warn)
        self._profile = self._profile_of(folder)
        self._scores: evaluator.Scores | None = None
        self._signals = callbacks.StopOnSignal(workers.largest)

    def run(self) -> dict[str, Any]:
        """Takes the steps that are left, and returns the values of results.json.

        Raises:
          Interrupted: a signal ended it before, after a checkpoint.
        """
        tags = tensorboard.train_tags(self._trainer)
        tags += tensorboard.validation_tags(self._files.classes.names, selects=self._selects)
        with run_card.recorded(self._folder, self._config, tags):
            if self._first_step < self._config.steps:
                with finite.explained(self._config):
                    self._fit()
            if self._signals.received is not None:
                step, run_dir = int(self._trainer.step.numpy()), self._config.run_dir
                again = f"--run_dir {shlex.quote(run_dir)} --resume"
                print(f"stopped at step {step}; go on with {again}")
                raise Interrupted(self._signals.received)
            return self._results()

    def _fit(self) -> None:
        config, trainer = self._config, self._trainer
        self._train_summaries.write_text(
            "run", run_card.text(self._command, config, self._first_step), self._first_step
        )
        if (steps := steps_per_execution(config, self._first_step)) > 1:
            trainer.compile(
                trainer.optimizer, trainer.discriminator_optimizer, steps_per_execution=steps
            )
        each_step = callbacks.Steps(self._callbacks())
        try:
            with (
                unreadable.naming_unreadable(
                    (*self._files.labeled.images, *self._files.unlabeled),
                    self._files.labeled.labels,
                ),
                memory.answered(memory.step(config), self._smaller_step()),
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
                    callbacks=[each_step],
                )
        except (FloatingPointError, OutOfMemory, Interrupted):
            # Weights that are no numbers, or of a part of a step; or a second signal: end at once.
            raise
        except Exception:
            # Whatever else failed, such as reading a file, the steps taken so far are good; but a
            # run that is resumed after one would not validate it, nor show it. Several workers save
            # together, which those that did not fail here would not know of.
            if self._workers.count == 1 and not each_step.amid:
                self._checkpoints.save(self._stopwatch.seconds)
            raise
        finally:
            self._profile.close()

    def _profile_of(self, folder: Path | None) -> callbacks.Profile:
        """Returns the callback that records the steps of --profile, if there are any."""
        span = self._config.profile
        start, stop = flags.bounds(span) if span else (0, 0)
        if warning := profile_warning(self._config, self._first_step):
            print(f"warning: {warning}", file=sys.stderr)
        where = folder and folder / tensorboard.TRAIN
        return callbacks.Profile(where, start, stop, self._stopwatch, self._progress.say)

    def _callbacks(self) -> list[callbacks.EveryStep]:
        config, checkpoints, stopwatch = self._config, self._checkpoints, self._stopwatch
        return [
            self._timing,
            self._profile,
            divergence.StopAtNaN(),
            divergence.StopAtLeastLossScale(LOG_EVERY),
            callbacks.ShowProgress(self._progress),
            self._health,
            self._train_summaries,
            callbacks.Validate(
                self._validate, checkpoints, stopwatch, config.eval_every, config.steps
            ),
            callbacks.SaveCheckpoints(checkpoints, stopwatch, config.checkpoint_every),
            self._signals,
        ]

    def _smaller_step(self) -> str:
        replicas = self._trainer.distribute_strategy.num_replicas_in_sync
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        return memory.smaller_step(self._config, replicas, has_gpu=has_gpu)

    def _results(self) -> dict[str, Any]:
        """Returns the values of results.json, for the last step."""
        config, window = self._config, self._checkpoints.window
        scores = self._scores or self._measure()[0]
        best = self._checkpoints.best()
        return {
            **tables.score_values(scores, self._files.classes.names, selects=self._selects),
            "protocol": self._validation.protocol.describe(),
            "best_mean_iou": math.nan if best is None else best,
            "steps": int(self._trainer.step.numpy()),
            "images_per_second": self._timing.steps_per_second * self._images_per_step,
            "training_seconds": float(self._checkpoints.seconds),
            "peak_memory_bytes": devices.peak_memory_bytes(),
            "train_selected_fraction": window.last_mean("selected_fraction"),
            "discriminator_loss": window.last_mean("discriminator"),
            "method": config.method,
            "dataset": self._files.classes.name,
            "seed": config.seed,
            "labeled_images": len(self._files.labeled.ids),
            "unlabeled_images": len(self._files.unlabeled),
        }

    def _measure(self) -> tuple[evaluator.Scores, dict[str, np.ndarray]]:
        config = self._config
        with memory.answered(memory.validation(config), memory.smaller_validation(config)):
            return self._validation.measure()

    def _validate(self, step: int) -> float:
        self._scores, strips = self._measure()
        mean_iou, best = self._scores.mean_iou, self._checkpoints.best()
        # Shown with this one, which is not kept yet. NaN is above nothing.
        if best is None or mean_iou > best:
            best = None if math.isnan(mean_iou) else mean_iou
        self._validation_summaries.write(step, self._scores, best, strips)
        self._progress.say(f"step {step}: validation mean IoU {100 * mean_iou:.2f} %")
        self._health.on_validation(step, self._scores.confusion, self._files.classes.names)
        return mean_iou

    def _warn(self, name: str, text: str, step: int) -> None:
        if self._workers.is_chief:  # All find the same.
            self._progress.warn(text)
        self._train_summaries.write_text(f"warnings/{name}", text, step)


def steps_per_execution(config: TrainConfig, first_step: int) -> int:
    """Returns how many steps are taken at once, so that each look falls between two executions.

    Without a setting it is 1 on a CPU, where a look costs nothing, so that signals are seen soon.
    """
    steps = config.steps_per_execution or 1
    if config.steps_per_execution is None and tf.config.list_physical_devices("GPU"):
        due = math.gcd(config.eval_every, config.checkpoint_every, LOG_EVERY)
        if config.profile:
            due = math.gcd(due, *flags.bounds(config.profile))
        steps = max(n for n in range(1, _GPU_STEPS_PER_EXECUTION + 1) if due % n == 0)
    return math.gcd(steps, first_step)


def profile_warning(config: TrainConfig, first_step: int) -> str | None:
    """Returns why --profile records nothing in a run that goes on at a step; None if it does."""
    if config.profile is None:
        return None
    _, stop = flags.bounds(config.profile)
    # A process's first execution holds the tracing of the graph, and is never recorded.
    soonest = first_step + steps_per_execution(config, first_step) + 1
    if stop >= soonest:
        return None
    return (
        f"--profile {config.profile} records nothing: the run is at step {first_step}; "
        f"allowed: STOP of at least {soonest}"
    )
