"""Measuring in turn, and what the numbers say: medians, ratios of neighbours, growth."""

import contextlib
import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.workers import Contender, Repetition, Worker

OURS = "ours"
_QUIET = 0.05  # Cores; more that other work takes is worth a remark.


@dataclasses.dataclass
class Measured:
    """What is known of a contender after its repetitions.

    Attributes:
      facts: of its worker.
      repetitions: in the order in which they were taken.
    """

    facts: dict[str, Any]
    repetitions: list[Repetition] = dataclasses.field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        """Of each repetition."""
        return [repetition.seconds for repetition in self.repetitions]

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)

    @property
    def taken_by_others(self) -> float:
        """Cores that the rest of the machine took while this contender ran."""
        return sum(r.others_cpu_seconds for r in self.repetitions) / sum(self.seconds)

    def summary(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return {
            "seconds": {
                "median": self.median,
                "min": min(self.seconds),
                "max": max(self.seconds),
                "all": self.seconds,
            },
            "cpu_seconds": statistics.median(r.cpu_seconds for r in self.repetitions),
            "cores_taken_by_others": self.taken_by_others,
            "peak_memory_bytes": self.repetitions[-1].peak_memory_bytes,
            "import_memory_bytes": self.facts["import_memory_bytes"],
            "prepare_seconds": self.facts["prepare_seconds"],
            "idle_cpu_seconds": sum(r.idle_cpu_seconds for r in self.repetitions),
        }


@contextlib.contextmanager
def ready(contenders: Sequence[Contender], warmup: int) -> Iterator[dict[str, Worker]]:
    """Yields a worker of each contender, by name, prepared one after the other; then ends them.

    Raises:
      ContenderFailed: one could not be prepared.
    """
    with contextlib.ExitStack() as stack:
        workers = {}
        for contender in contenders:
            worker = stack.enter_context(Worker(contender, warmup))
            worker.prepare()
            workers[contender.name] = worker
        yield workers


def take_turns(
    workers: Mapping[str, Worker], repetitions: int, tick: Callable[[], None]
) -> dict[str, Measured]:
    """Runs every worker once, then every worker again: A B A B.

    Args:
      workers: by name, ready.
      repetitions: of each.
      tick: called after each repetition of each.
    """
    measured = {name: Measured(worker.facts) for name, worker in workers.items()}
    for _ in range(repetitions):
        for name, worker in workers.items():
            measured[name].repetitions.append(worker.run())
            tick()
    return measured


def measure(
    contenders: Sequence[Contender],
    repetitions: int,
    warmup: int,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Measured]:
    """Prepares the contenders, and measures them in turn; returns what is known, by name.

    Raises:
      ContenderFailed: one failed.
    """
    with ready(contenders, warmup) as workers:
        return take_turns(workers, repetitions, tick)


def facts_of(contender: Contender) -> dict[str, Any]:
    """Prepares a contender, without warm-up, and returns its facts."""
    with ready([contender], 0) as workers:
        return workers[contender.name].facts


def ratio(others: Sequence[float], own: Sequence[float]) -> dict[str, float]:
    """Returns how many times as long another took, by pairs of neighbouring repetitions.

    Neighbours saw the same state of the machine, so that their ratio is steadier than that of two
    medians.

    Args:
      others: seconds of the other contender, in order.
      own: seconds of ours, in the same rounds.

    Returns:
      "median", "min" and "max" of the ratios; above 1, ours is faster.
    """
    ratios = [other / one for other, one in zip(others, own, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def noise(measured: Mapping[str, Measured]) -> str:
    """Returns a remark if other work ran on the machine meanwhile, else nothing."""
    taken = max(one.taken_by_others for one in measured.values())
    return f"  (others took {taken:.1f} cores)" if taken > _QUIET else ""


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Returns b of the least-squares fit of log(cost) = a + b log(size): 1 is proportional."""
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    return statistics.linear_regression(x, y).slope


def relative_difference(value: float, reference: float, floor: float = 0.0) -> float:
    """Returns the difference over the reference's size, or over `floor` if that is larger."""
    return abs(value - reference) / (max(abs(reference), floor) or 1.0)


class Disagreement(RuntimeError):
    """Two contenders do not compute the same, so that their times are not to be compared."""


def compare_losses(
    own: Mapping[str, float],
    reference: Mapping[str, float],
    tolerance: float,
    who: str,
    floor: float = 0.0,
) -> float:
    """Returns the largest relative difference of a first step's losses.

    Args:
      own: the losses, by name.
      reference: what they should be.
      tolerance: of the difference.
      who: has them, for the message.
      floor: as in `relative_difference`.

    Raises:
      Disagreement: it is above the tolerance, or not a number, or they name other losses.
    """
    if set(own) != set(reference):
        raise Disagreement(f"{who} has the losses {sorted(own)}; expected: {sorted(reference)}")
    differences = {
        name: relative_difference(own[name], reference[name], floor) for name in reference
    }
    worst = max(differences, key=lambda name: (math.isnan(differences[name]), differences[name]))
    # Written so that NaN fails too.
    if not differences[worst] <= tolerance:
        raise Disagreement(
            f"{who}: {worst} of the first step is {own[worst]:.8g} instead of "
            f"{reference[worst]:.8g}: the work is not the same"
        )
    return differences[worst]
