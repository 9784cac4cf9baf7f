"""Progress of long work: a bar on a terminal, elsewhere a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


class Progress:
    """Shows how much of some work is done, and how long the rest will take.

    Args:
      title: what is done.
      total: how much there is of it.
      done: how much was done before, by an earlier process.
      delay: seconds before anything is shown, so that quick work is silent.
      interval: seconds between lines where stdout is no terminal.
    """

    def __init__(
        self, title: str, total: int, *, done: int = 0, delay: float = 0.0, interval: float = 30.0
    ):
        self._title, self._total, self._first, self._done = title, total, done, done
        self._interval = interval
        # When, and after how much of it, the rest began to be timed.
        self._timed_from: tuple[float, int] | None = None
        # The first line comes early, so that a log shows that work is under way.
        self._next_line = time.monotonic() + max(delay, min(5.0, interval))
        self._bar = None
        if sys.stdout.isatty():
            self._bar = tqdm(
                desc=title,
                total=total,
                initial=done,
                delay=delay,
                file=sys.stdout,
                dynamic_ncols=True,
                mininterval=0.3,
                leave=not delay,
            )

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Tells that `done` of the total is done, and numbers to show beside it."""
        if self._bar is not None:
            if values:
                shown = {name: f"{value:.4g}" for name, value in values.items()}
                self._bar.set_postfix(shown, refresh=False)
            self._bar.update(done - self._done)
        self._done = done
        if self._timed_from is None and done > self._first:
            # The first part of the work may have prepared for all of it.
            self._timed_from = time.monotonic(), done
        if self._bar is None and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._interval
            print(self._line(values or {}), flush=True)

    def say(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """Prints a warning on stderr without breaking the bar."""
        line = f"warning: {text}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()

    def _line(self, values: Mapping[str, float]) -> str:
        parts = [f"{self._title} {self._done}/{self._total}", *self._time_left()]
        return "  ".join(parts + [f"{name} {value:.4g}" for name, value in values.items()])

    def _time_left(self) -> list[str]:
        """Returns how long the rest takes, if that can be told yet."""
        began, before = self._timed_from or (0.0, self._done)
        if self._done == before:
            return []
        gone = time.monotonic() - began
        return [f"{clock(gone / (self._done - before) * (self._total - self._done))} left"]


def track(items: Iterable[Item], title: str, total: int, delay: float = 2.0) -> Iterator[Item]:
    """Yields the items and shows how many have been taken."""
    progress = Progress(title, total, delay=delay)
    try:
        for count, item in enumerate(items, 1):
            yield item
            progress.update(count)
    finally:
        progress.close()


def clock(seconds: float) -> str:
    """Returns a time as h:mm:ss, or m:ss where it is under an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
