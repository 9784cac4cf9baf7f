"""How long the runs of a table take, before they are run: from finished runs, or by a trial.

A trial takes a few steps on random images, and predicts one. Reading of files is not in it. Without
a GPU a step has one image of each kind and its time is multiplied, since there a step may take
minutes and more memory than there is.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable

from tf_advseg.data.images import image_size
from tf_advseg.progress import Progress, clock
from tf_advseg.reproduce.gather import outcome_of, steps_taken
from tf_advseg.reproduce.grid import Grid, Run
from tf_advseg.train_options import TrainConfig

_START_SECONDS = 20.0  # To import TensorFlow, check the data and trace the step.
_TRIAL_SECONDS, _TRIAL_STEPS = 10.0, 5  # A trial ends at either, after one step at least.


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds of a training step and of a validation image; whether they are of finished runs."""

    step: float
    image: float
    of_runs: bool


def estimate(grid: Grid) -> str:
    """Returns the command of each run, and how long it would take, as lines of text."""
    found = paces(grid)
    lines, total = [], 0.0
    for run in grid.runs:
        pace = found.get(run.row)
        seconds = seconds_left(grid, run, pace) if pace else 0.0
        total += seconds
        lines.append(f"{clock(seconds) if seconds else 'finished':>9}  {run.shown_command}")
    lines.append(f"{clock(total):>9}  in all, by these paces of this machine:")
    for row, pace in found.items():
        source = "of finished runs" if pace.of_runs else "in a trial"
        lines.append(
            f"{'':>9}  {row}: {pace.step:.3g} s a step ({source}), "
            f"{pace.image:.3g} s a validation image"
        )
    return "\n".join(lines)


def paces(grid: Grid) -> dict[str, Pace]:
    """Returns the pace on this machine of each row that has runs left."""
    waiting = [run for run in grid.runs if outcome_of(run) is None]
    rows = {run.row: run for run in waiting}
    size = image_size(grid.dataset.image_path(grid.dataset.ids(grid.settings.val_split)[0]))
    progress = Progress("timing", len(rows))
    found = {}
    for row, run in rows.items():
        found[row] = _pace(grid, run, size)
        progress.update(len(found))
    progress.close()
    return found


def seconds_left(grid: Grid, run: Run, pace: Pace) -> float:
    """Returns how long the rest of a run would take; 0 if it is finished."""
    if outcome_of(run) is not None:
        return 0.0
    settings = run.settings
    steps = settings.steps - steps_taken(run)
    validations = -(-steps // settings.eval_every)
    images = validations * len(grid.dataset.ids(settings.val_split))
    return _START_SECONDS + steps * pace.step + images * pace.image


def _pace(grid: Grid, run: Run, image: tuple[int, int]) -> Pace:
    trial = _Trial(run.settings, len(grid.dataset.classes))
    of_row = [r for r in grid.runs if r.row == run.row]
    outcomes = [o for r in of_row if (o := outcome_of(r)) is not None]
    steps = [o.seconds_per_step for o in outcomes if o.seconds_per_step is not None]
    seconds = statistics.median(steps) if steps else trial.seconds_per_step()
    return Pace(seconds, trial.seconds_per_image(image), bool(steps))


class _Trial:
    """The networks of a run, with random weights and random images."""

    def __init__(self, settings: TrainConfig, num_classes: int):
        from tf_advseg.training import run
        from tf_advseg.training.precision import default_precision

        precision = settings.precision or default_precision()
        self._settings = dataclasses.replace(settings, precision=precision)
        self._trainer = run.build_trainer(self._settings, num_classes)

    def seconds_per_step(self) -> float:
        import tensorflow as tf

        settings = self._settings
        images = settings.batch_size if tf.config.list_physical_devices("GPU") else 1
        return settings.batch_size / images * self._seconds_with(images)

    def _seconds_with(self, batch_size: int) -> float:
        """Returns seconds of a step on that many labeled images, and as many unlabeled ones."""
        import tensorflow as tf

        settings = self._settings
        shape = [batch_size, *settings.crop_size]
        images = tf.random.stateless_uniform([*shape, 3], [settings.seed, 0], 0.0, 255.0)
        labels = tf.random.stateless_uniform(
            shape, [settings.seed, 1], 0, self._trainer.num_classes, tf.int32
        )
        unlabeled = images, tf.ones(shape, tf.bool)
        if self._trainer.recipe.teacher:
            unlabeled += images, tf.zeros(shape, tf.bool)  # The harder view.
        batch = {"labeled": (images, labels), "unlabeled": unlabeled}
        step = tf.function(self._trainer.train_step)
        return _seconds(lambda: step(batch)["loss"].numpy())

    def seconds_per_image(self, size: tuple[int, int]) -> float:
        import tensorflow as tf

        from tf_advseg.evaluation.inference import Predictor

        trainer = self._trainer
        predict = Predictor(
            trainer.evaluated, trainer.discriminator, input_scale=self._settings.input_scale
        )
        image = tf.zeros([1, *size, 3], tf.uint8)
        return _seconds(lambda: predict(image).class_ids.numpy())


def _seconds(act: Callable[[], object]) -> float:
    """Returns the mean time of a few calls, after a first one that traces a graph.

    The mean, as under the mixing coin_flip there are two kinds of steps.
    """
    act()
    times: list[float] = []
    while sum(times) < _TRIAL_SECONDS and len(times) < _TRIAL_STEPS:
        begin = time.perf_counter()
        act()
        times.append(time.perf_counter() - begin)
    return statistics.fmean(times)
