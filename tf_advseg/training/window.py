"""The steps over which the curves' next point is a mean, and what the last point was."""

import math
from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf


class Window(tf.Module):
    """A part of a run's checkpoints: without it, a resumed run's next point would differ.

    Args:
      trackers: of the trainer; each is a mean since the window began.
    """

    def __init__(self, trackers: Iterable[keras.metrics.Metric]):
        super().__init__()
        self.trackers = {tracker.name: tracker for tracker in trackers}
        self.last = {
            name: tf.Variable(math.nan, trainable=False, dtype=tf.float32) for name in self.trackers
        }

    def close(self, means: Mapping[str, float]) -> None:
        """Begins anew, and keeps the means over the steps since the last call."""
        for name, tracker in self.trackers.items():
            self.last[name].assign(means[name])
            tracker.reset_state()

    def last_mean(self, name: str) -> float:
        """Returns a tracker's mean over the last window that was closed; NaN if there is none."""
        return float(self.last[name].numpy()) if name in self.last else math.nan

    def values(self) -> list[np.ndarray]:
        """Returns what the trackers hold, for `assign`."""
        return [variable.numpy() for variable in self._variables()]

    def assign(self, values: list[np.ndarray]) -> None:
        """Puts back what `values` returned."""
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)

    def _variables(self) -> list[tf.Variable]:
        return [v for tracker in self.trackers.values() for v in tracker.variables]
