"""Keras callbacks of a run: validation, checkpoints, progress, signals.

Each looks at the trainer's own step, so that a resumed run does everything at the steps at which an
uninterrupted one would. Where several steps are taken in one execution, it looks after the last.
"""

import abc
import math
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_advseg.progress import Progress
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.stopwatch import Stopwatch

Logs = dict[str, float]

#: In the line of the progress, which is to stay one line.
_MAIN_LOSSES = ("loss", "cross_entropy", "semi_supervised", "discriminator")


class EveryStep(keras.callbacks.Callback, abc.ABC):
    """Does something after each step, when `Steps` calls it."""

    @abc.abstractmethod
    def on_step(self, step: int, logs: Logs) -> None:
        """Does what there is to do after a step.

        Args:
          step: the number of steps taken so far, before a resume too.
          logs: each loss, as its mean since the trainer's metrics were reset.
        """


class Steps(keras.callbacks.Callback):
    """Calls each of its callbacks after a step; Keras calls this one alone.

    The step is read from its device once for all of them.

    Args:
      callbacks: in their order.

    Attributes:
      amid: whether some were called after this step, and others not yet.
    """

    def __init__(self, callbacks: Sequence[EveryStep]):
        super().__init__()
        self._callbacks = callbacks
        self.amid = False

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        for callback in self._callbacks:
            callback.set_model(model)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        for callback in self._callbacks:
            callback.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        step = int(self.model.step.numpy())
        self.amid = True
        for callback in self._callbacks:
            callback.on_step(step, logs or {})
        self.amid = False

    def on_train_end(self, logs: Logs | None = None) -> None:
        for callback in self._callbacks:
            callback.on_train_end(logs)


class Timing(EveryStep):
    """Starts the stopwatch after the first execution, which is slow: its graph is traced.

    Attributes:
      steps: taken since.
    """

    def __init__(self, stopwatch: Stopwatch):
        super().__init__()
        self._stopwatch = stopwatch
        self._first: int | None = None
        self.steps = 0

    def on_step(self, step: int, logs: Logs) -> None:
        if self._first is None:
            self._first = step
        self.steps = step - self._first
        self._stopwatch.start()

    @property
    def steps_per_second(self) -> float:
        """Of the steps since the stopwatch was started; NaN if there was none."""
        return self.steps / self._stopwatch.seconds if self.steps else math.nan


class Profile(EveryStep):
    """Records TensorFlow's profile of some steps, for TensorBoard's page `profile`.

    Args:
      folder: of the event files; None to record nothing.
      start: the steps after this one are recorded.
      stop: the last step that is; 0 to record nothing.
      stopwatch: of the time spent training.
      say: is told where the profile is.
    """

    def __init__(
        self,
        folder: Path | None,
        start: int,
        stop: int,
        stopwatch: Stopwatch,
        say: Callable[[str], None],
    ):
        super().__init__()
        self._folder, self._start, self._stop = folder, start, stop
        self._stopwatch, self._say = stopwatch, say
        self._first = self._last = 0  # Steps; the first is 0 while nothing is recorded.

    def on_step(self, step: int, logs: Logs) -> None:
        self._last = step
        if self._first and step >= self._stop:
            self.close()
        elif not self._first and self._start <= step < self._stop and self._folder is not None:
            with self._stopwatch.paused():
                tf.profiler.experimental.start(str(self._folder))
            self._first = step + 1

    def close(self) -> None:
        """Writes what was recorded so far, if it is not written yet."""
        if not self._first:
            return
        first, self._first = self._first, 0
        with self._stopwatch.paused():
            tf.profiler.experimental.stop()
        self._say(
            f"profile of the steps {first} to {self._last} in {self._folder}/plugins/profile; "
            "TensorBoard shows it once tensorboard-plugin-profile is installed"
        )


class Validate(EveryStep):
    """Validates every `every` steps and at the last one, and keeps the best checkpoint."""

    def __init__(
        self,
        validate: Callable[[int], float],
        checkpoints: Checkpoints,
        stopwatch: Stopwatch,
        every: int,
        last: int,
    ):
        super().__init__()
        self._validate, self._checkpoints, self._stopwatch = validate, checkpoints, stopwatch
        self._every, self._last = every, last

    def on_step(self, step: int, logs: Logs) -> None:
        if step % self._every and step != self._last:
            return
        with self._stopwatch.paused():
            self._checkpoints.save_if_best(self._validate(step))


class SaveCheckpoints(EveryStep):
    """Writes a checkpoint every `every` steps, and when training ends in good order."""

    def __init__(self, checkpoints: Checkpoints, stopwatch: Stopwatch, every: int):
        super().__init__()
        self._checkpoints, self._stopwatch, self._every = checkpoints, stopwatch, every

    def on_step(self, step: int, logs: Logs) -> None:
        if step % self._every == 0:
            with self._stopwatch.paused():
                self._checkpoints.save(self._stopwatch.seconds)

    def on_train_end(self, logs: Logs | None = None) -> None:
        with self._stopwatch.paused():
            self._checkpoints.save(self._stopwatch.seconds)


class StopOnSignal(EveryStep):
    """Ends training in good order, after the step under way, at Ctrl-C, SIGTERM or SIGHUP.

    A second signal ends the process at once.

    Args:
      agree: of several workers, gives the largest of all their signals' numbers, so that all stop
        after the same step whichever of them was told to.

    Attributes:
      received: the number of the signal that all agreed to stop at, or None.
    """

    def __init__(self, agree: Callable[[int], int] = lambda number: number) -> None:
        super().__init__()
        self._agree = agree
        self._heard = 0
        self.received: int | None = None
        self._outer: dict[int, Any] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # As nohup has SIGHUP.
                self._outer[number] = signal.signal(number, self._receive)

    def on_train_end(self, logs: Logs | None = None) -> None:
        for number, handler in self._outer.items():
            signal.signal(number, handler)

    def on_step(self, step: int, logs: Logs) -> None:
        self.received = self._agree(self._heard) or None
        if self.received is not None:
            self.model.stop_training = True

    def _receive(self, number: int, frame: Any) -> None:
        self._heard = number
        self.on_train_end()


class ShowProgress(EveryStep):
    """Shows the main losses and time left.

    Args:
      progress: of the steps of the whole run.
    """

    def __init__(self, progress: Progress):
        super().__init__()
        self._progress = progress

    def on_step(self, step: int, logs: Logs) -> None:
        main = {name: logs[name] for name in _MAIN_LOSSES if name in logs}
        self._progress.update(step, main)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._progress.close()
