"""From the results of runs to the cells of a table: means, deviations, published numbers."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from tf_advseg import checkpoint_files
from tf_advseg.config import BEST, CHECKPOINTS
from tf_advseg.evaluation import results
from tf_advseg.reproduce.grid import Grid, Run
from tf_advseg.reproduce.published import published


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
      run: its plan.
      values: of its results.json.
    """

    run: Run
    values: dict[str, Any]

    @property
    def mean_iou(self) -> float | None:
        """Of the checkpoint that the recipe evaluates, in 0-1; None if nothing was counted."""
        best = self.run.settings.eval_checkpoint == BEST
        return self.values["best_mean_iou" if best else "mean_iou"]

    @property
    def seconds_per_step(self) -> float | None:
        """Without validation and start."""
        seconds, steps = self.values["training_seconds"], self.values["steps"]
        return seconds / steps if seconds and steps else None


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a table says of one row at one fraction.

    Attributes:
      row, labeled_fraction: which.
      labeled_images: how many images have labels.
      outcomes: the finished runs, one a seed.
      planned: how many seeds there are to be.
      published: source -> mean IoU in %.
    """

    row: str
    labeled_fraction: float
    labeled_images: int
    outcomes: tuple[Outcome, ...]
    planned: int
    published: dict[str, float]

    @property
    def by_seed(self) -> dict[int, float]:
        """Mean IoU in 0-1 of each finished seed."""
        return {o.run.settings.seed: o.mean_iou for o in self.outcomes if o.mean_iou is not None}

    @property
    def mean_ious(self) -> list[float]:
        """Of each finished seed, in 0-1."""
        return list(self.by_seed.values())

    @property
    def mean_iou(self) -> float | None:
        return statistics.fmean(self.mean_ious) if self.mean_ious else None

    @property
    def mean_iou_deviation(self) -> float | None:
        """Standard deviation over seeds (n - 1 in the denominator); None with fewer than two."""
        return statistics.stdev(self.mean_ious) if len(self.mean_ious) > 1 else None

    def mean_of(self, key: str) -> float | None:
        """Returns the mean over seeds of a value of results.json; None if no run has it."""
        found = [o.values[key] for o in self.outcomes if o.values.get(key) is not None]
        return statistics.fmean(found) if found else None

    @property
    def class_ious(self) -> dict[str, float | None]:
        """Mean over seeds of each class's IoU in 0-1; None for one that no run counted."""
        runs = [outcome.values["per_class_iou"] or {} for outcome in self.outcomes]
        found = {
            name: [run[name] for run in runs if run.get(name) is not None]
            for name in dict.fromkeys(name for run in runs for name in run)
        }
        return {name: statistics.fmean(v) if v else None for name, v in found.items()}

    @property
    def missing(self) -> int:
        """How many seeds have no finished run yet."""
        return self.planned - len(self.outcomes)

    @property
    def seconds_per_step(self) -> float | None:
        """Median over seeds: another program on the machine slows some of them."""
        found = [s for o in self.outcomes if (s := o.seconds_per_step) is not None]
        return statistics.median(found) if found else None


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much better one cell is than another, seed by seed: a split and its initial weights.

    Attributes:
      mean: in 0-1.
      standard_error: of that mean; None with fewer than two seeds.
      seeds: that both have.
    """

    mean: float
    standard_error: float | None
    seeds: int


def difference(cell: Cell, other: Cell) -> Difference | None:
    """Returns a cell's mean IoU less another's, over the seeds of both; None if there is none."""
    mine, others = cell.by_seed, other.by_seed
    gains = [mine[seed] - others[seed] for seed in mine if seed in others]
    if not gains:
        return None
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
    return Difference(statistics.fmean(gains), error, len(gains))


@dataclasses.dataclass(frozen=True)
class Table:
    """Everything that is told of a grid.

    Attributes:
      dataset: name of the data set.
      rows: as planned.
      labeled_images: its columns: by fraction, how many images have labels.
      cells: by row and fraction; one that means nothing is not there.
      sources: whose published numbers stand beside ours, where there are any.
      checkpoint: which one of a run counts, last or best by validation.
      protocols: how the finished runs saw the validation images, usually one.
    """

    dataset: str
    rows: tuple[str, ...]
    labeled_images: dict[float, int]
    cells: dict[tuple[str, float], Cell]
    sources: tuple[str, ...]
    checkpoint: str
    protocols: tuple[str, ...]


def outcome_of(run: Run) -> Outcome | None:
    """Returns a run's outcome; None if it has not taken its last step yet.

    Raises:
      InputError: its results.json is damaged.
    """
    values = results.read(run.folder / results.RESULTS_FILE)
    if values is None or values["steps"] < run.settings.steps:
        return None
    return Outcome(run, values)


def steps_taken(run: Run) -> int:
    """Returns the step that a run was last saved at; 0 if it was not."""
    return max(checkpoint_files.steps(run.folder / CHECKPOINTS), default=0)


def gather(grid: Grid) -> Table:
    """Reads the results of all runs that are finished.

    Raises:
      InputError: a damaged results.json.
    """
    known = published(grid.dataset, grid.settings.train_split, grid.settings.val_split)
    by_cell: dict[tuple[str, float], list[Run]] = {}
    for run in grid.runs:
        by_cell.setdefault(run.cell, []).append(run)
    cells = {cell: _cell(runs, known) for cell, runs in by_cell.items()}
    sources = tuple(s for s in known if any(s in cell.published for cell in cells.values()))
    outcomes = [outcome for cell in cells.values() for outcome in cell.outcomes]
    return Table(
        grid.dataset.classes.name,
        grid.own.methods,
        grid.labeled_images,
        cells,
        sources,
        grid.settings.eval_checkpoint,
        tuple(sorted({outcome.values["protocol"] for outcome in outcomes})),
    )


def _cell(runs: Sequence[Run], known: dict) -> Cell:
    run = runs[0]
    published_as = run.settings.method, run.cell[1]
    return Cell(
        *run.cell,
        run.labeled_images,
        tuple(outcome for run in runs if (outcome := outcome_of(run)) is not None),
        len(runs),
        {name: table[published_as] for name, table in known.items() if published_as in table},
    )
