"""Damaged files of every kind, given to the code that reads them.

Allowed is that a file is read, or refused in one line. Any other exception, a process that ends,
one that does not answer, and one that asks for gigabytes is a finding.
"""

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.soak.fuzz_worker import ACCEPTED, FAILED, REFUSED, target_of
from tests.soak.targets import TARGETS

TARGETS_TABLE = "tests.soak.targets:TARGETS"
_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 180  # Until the first input; libraries are loaded and networks are built.
_LAST_LINES = 5


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that was neither read nor refused in good order.

    Attributes:
      target: what should have read it.
      seed: `python -m tests.soak --part fuzz --inputs 1 --seed SEED` tries it again.
      problem: what happened.
    """

    target: str
    seed: int
    problem: str


@dataclasses.dataclass(frozen=True)
class FuzzFigures:
    """What became of the inputs.

    Attributes:
      inputs: that were tried.
      accepted: that were read.
      refused: that were refused in one line.
      by_target: the two numbers for each target.
      failures: the rest.
    """

    inputs: int
    accepted: int
    refused: int
    by_target: dict[str, dict[str, int]]
    failures: tuple[Failure, ...]


def fuzz(
    inputs: int,
    seed: int,
    *,
    table: str = TARGETS_TABLE,
    targets: dict = TARGETS,
    seconds: float = 20.0,
    tick: Callable[[int], None] = lambda done: None,
) -> FuzzFigures:
    """Tries the inputs `seed` to `seed` + `inputs` - 1.

    An input follows from its number alone: target, original and damage. All are read in a process
    of their own; where one ends it, the next process goes on behind it.

    Args:
      inputs: how many.
      seed: the first one's number.
      table: "module:name" of the targets, for the other process.
      targets: the same.
      seconds: that one input may take.
      tick: is told how many are done.
    """
    counts: Counter[tuple[str, str]] = Counter()
    failures = []
    for number, outcome, message in _outcomes(inputs, seed, table, seconds):
        name = target_of(number, targets)
        counts[name, outcome] += 1
        if outcome == FAILED:
            failures.append(Failure(name, number, message))
        tick(sum(counts.values()))
    by_target = {
        name: {outcome: counts[name, outcome] for outcome in (ACCEPTED, REFUSED)}
        for name in targets
    }
    return FuzzFigures(
        inputs=sum(counts.values()),
        accepted=sum(one[ACCEPTED] for one in by_target.values()),
        refused=sum(one[REFUSED] for one in by_target.values()),
        by_target=by_target,
        failures=tuple(failures),
    )


def _outcomes(inputs: int, seed: int, table: str, seconds: float) -> Iterator[tuple[int, str, str]]:
    """Yields number, outcome and message of each input, through as many processes as it takes."""
    number, end = seed, seed + inputs
    while number < end:
        with _Worker(table, number, end - number) as worker:
            while number < end:
                if worker.answer(_START_SECONDS) != [number]:
                    ending = worker.ending(seconds)
                    raise RuntimeError(f"the reading process did not start: {ending}")
                answer = worker.answer(seconds)
                if answer is None:
                    yield number, FAILED, worker.ending(seconds / 2)
                    number += 1
                    break
                yield tuple(answer)
                number += 1


class _Worker:
    """A reading process. Use it in a `with` statement, which ends the process."""

    def __init__(self, table: str, first: int, count: int):
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        folder = Path(self._folder.name)
        self._log = (folder / "log").open("w+b")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.soak.fuzz_worker"),
                *(table, str(first), str(count), str(folder / "originals")),
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=_ROOT,
            env={
                **os.environ,
                "TF_CPP_MIN_LOG_LEVEL": "2",
                "CUDA_VISIBLE_DEVICES": "-1",
                "TF_ADVSEG_CACHE": str(folder / "cache"),
            },
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *rest: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        self._folder.cleanup()

    def answer(self, seconds: float) -> list | None:
        """Returns the next line; None if the process ends first, or takes longer."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        return json.loads(line) if line else None

    def ending(self, seconds: float) -> str:
        """Returns how it ended, or that it has not in so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # A dump of memory may be under way.
            code = self._process.wait(timeout=seconds)
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").splitlines()
            return f"the process ended with code {code}: " + " / ".join(lines[-_LAST_LINES:])
        return "no answer in time"

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")
