"""Our training with and without what it tells of itself, in turn in one process."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.contenders import ours
from benchmarks.workers import Task, busy_seconds, used_seconds
from tf_advseg.options import LOG_EVERY
from tf_advseg.progress import Progress
from tf_advseg.training import callbacks, divergence
from tf_advseg.training.stopwatch import Stopwatch
from tf_advseg.training.tensorboard import TrainSummaries
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.window import Window

Options = Mapping[str, Any]

WITH, WITHOUT = "with", "without"


def pairs(options: Options) -> Task:
    """Trains by `fit` with all callbacks that log, and without; there is nothing to repeat.

    In one process, because two differ by more than what is looked for. Which of both comes first
    changes from pair to pair.

    Args:
      options: "case"; "steps" of a `fit`; "pairs" of them.

    Returns:
      a task whose facts are the "seconds" of each `fit`, {"with": [...], "without": [...]}, and the
      cores that others took meanwhile.
    """
    trainer, batch = ours.compiled(options["case"])
    data, steps = tf.data.Dataset.from_tensors(batch).repeat(), options["steps"]
    seconds: dict[str, list[float]] = {WITH: [], WITHOUT: []}

    def fit(who: str, folder: Path) -> float:
        logging = (
            [callbacks.Steps(_logging(folder, trainer, steps, options))] if who == WITH else []
        )
        trainer.reset_metrics()
        start = time.perf_counter()
        trainer.fit(data, steps_per_epoch=steps, verbose=0, callbacks=logging)
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        for who in seconds:  # Not counted: the graph is traced.
            fit(who, Path(temporary))
        own, busy, start = used_seconds(), busy_seconds(), time.perf_counter()
        for pair in range(options["pairs"]):
            for who in (WITH, WITHOUT) if pair % 2 else (WITHOUT, WITH):
                seconds[who].append(fit(who, Path(temporary)))
        others = busy_seconds() - busy - (used_seconds() - own)
        taken = max(0.0, others) / (time.perf_counter() - start)
    return Task(lambda: None, {"seconds": seconds, "cores_taken_by_others": taken})


def _logging(
    folder: Path, trainer: AdversarialTrainer, steps: int, options: Options
) -> list[callbacks.EveryStep]:
    """Returns the callbacks of a run but for those of validation, checkpoints and signals."""
    stopwatch, progress = Stopwatch(), Progress("step", steps)
    images = 2 * options["case"]["batch"]
    return [
        callbacks.Timing(stopwatch),
        callbacks.Profile(None, 0, 0, stopwatch, progress.say),
        divergence.StopAtNaN(),
        callbacks.ShowProgress(progress),
        TrainSummaries(folder, LOG_EVERY, images, stopwatch, Window(trainer.metrics)),
    ]
