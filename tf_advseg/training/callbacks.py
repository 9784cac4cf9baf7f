"""Keras callbacks of a run: validation, checkpoints, progress, signals.

Each looks at the trainer's own step, so that a resumed run does everything at the steps at which an
uninterrupted one would.
"""

import abc
import math
import signal
from collections.abc import Callable
from typing import Any

import keras

from tf_advseg.progress import Progress
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.stopwatch import Stopwatch

Logs = dict[str, float]


class EveryStep(keras.callbacks.Callback, abc.ABC):
    """Calls `on_step` after each step."""

    @abc.abstractmethod
    def on_step(self, step: int, logs: Logs) -> None:
        """Does what there is to do after a step.

        Args:
          step: the number of steps taken so far, before a resume too.
          logs: each loss, as its mean since the trainer's metrics were reset.
        """

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_step(int(self.model.step), logs or {})


class Timing(EveryStep):
    """Starts the stopwatch after the first step, which is slow because its graph is traced."""

    def __init__(self, stopwatch: Stopwatch):
        super().__init__()
        self._stopwatch = stopwatch
        self.steps = 0

    def on_step(self, step: int, logs: Logs) -> None:
        if self._stopwatch.seconds:
            self.steps += 1
        self._stopwatch.start()

    @property
    def steps_per_second(self) -> float:
        """Of the steps after the first; NaN if there was none."""
        return self.steps / self._stopwatch.seconds if self.steps else math.nan


class StopAtNaN(EveryStep):
    """Ends the run at the first loss that is no number: nothing after it is worth anything."""

    def on_step(self, step: int, logs: Logs) -> None:
        wrong = [name for name, value in logs.items() if not math.isfinite(value)]
        if wrong:
            raise FloatingPointError(
                f"step {step}: {', '.join(wrong)} is not finite; "
                "try a lower --learning_rate, or --precision float32"
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

    Attributes:
      received: the signal's number, or None.
    """

    def __init__(self) -> None:
        super().__init__()
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
        if self.received is not None:
            self.model.stop_training = True

    def _receive(self, number: int, frame: Any) -> None:
        self.received = number
        self.on_train_end()


class ShowProgress(EveryStep):
    """Shows losses and time left.

    Args:
      progress: of the steps of the whole run.
    """

    def __init__(self, progress: Progress):
        super().__init__()
        self._progress = progress

    def on_step(self, step: int, logs: Logs) -> None:
        self._progress.update(step, logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._progress.close()
