"""Time spent training, without what is done in between."""

import contextlib
import time
from collections.abc import Iterator


class Stopwatch:
    """Counts seconds from `start` on, except while paused. Before `start` it shows 0."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._paused = 0.0

    def start(self) -> None:
        """Starts, if it does not run."""
        if self._started is None:
            self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start, pauses left out."""
        if self._started is None:
            return 0.0
        return time.perf_counter() - self._started - self._paused

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count what happens inside."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            if self._started is not None:
                self._paused += time.perf_counter() - begin
