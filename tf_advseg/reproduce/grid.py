"""Which runs a table is made of: each with its command and its checked settings."""

import dataclasses
import shlex
import sys
from fractions import Fraction
from pathlib import Path

from tf_advseg import config, flags, resume
from tf_advseg.data import splits
from tf_advseg.data.catalog import Dataset
from tf_advseg.data.files import open_dataset
from tf_advseg.errors import InputError
from tf_advseg.reproduce.rows import ROWS
from tf_advseg.reproduce.settings import PROGRAM, ReproduceConfig
from tf_advseg.train_options import TrainConfig

_ROOT = Path(__file__).resolve().parents[2]
_HELPED = f"{PROGRAM} --help and python train.py"  # Where an unknown flag may be looked up.
_LARGEST_DENOMINATOR = 64  # Of a share that is shown as a quotient.


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a table.

    Attributes:
      row: of the table, a name in `rows.ROWS`.
      settings: as train.py will resolve them.
      arguments: of train.py.
      labeled_images: how many images it has labels of.
    """

    row: str
    settings: TrainConfig
    arguments: tuple[str, ...]
    labeled_images: int

    @property
    def cell(self) -> tuple[str, float]:
        """Row and labeled fraction."""
        return self.row, self.settings.labeled_fraction

    @property
    def folder(self) -> Path:
        return Path(self.settings.run_dir)

    @property
    def title(self) -> str:
        fraction = show_fraction(self.settings.labeled_fraction)
        return f"{self.row} {fraction} seed {self.settings.seed}"

    @property
    def command(self) -> list[str]:
        """The command that begins the run, or goes on with it."""
        return [sys.executable, str(_ROOT / "train.py"), *self.arguments]

    @property
    def shown_command(self) -> str:
        """The same, to be read, and typed in the project's folder."""
        return shlex.join(["python", "train.py", *self.arguments])


@dataclasses.dataclass(frozen=True)
class Grid:
    """All runs of a table.

    Attributes:
      own: the settings that span it.
      output_dir: of the runs and of the table.
      dataset: that all runs read.
      labeled_images: how many images have labels, by fraction.
      runs: fraction by fraction, and in each the rows, and in each the seeds.
    """

    own: ReproduceConfig
    output_dir: Path
    dataset: Dataset
    labeled_images: dict[float, int]
    runs: tuple[Run, ...]

    @property
    def settings(self) -> TrainConfig:
        """Those of the first run; the others differ in row, fraction and seed alone."""
        return self.runs[0].settings


def make_grid(own: ReproduceConfig, arguments: list[str]) -> Grid:
    """Plans and checks every run before the first one begins.

    A cell whose method needs unlabeled images, and whose fraction leaves none, has no run.

    Args:
      own: the settings that span the grid.
      arguments: train.py's, the same for all runs.

    Raises:
      InputError: a wrong flag or data set; or a folder that holds a run of other settings.
    """
    given = flags.parse(TrainConfig, arguments, "", prog=_HELPED)
    example = config.resolve({**given, "method": ROWS[own.methods[0]].method})
    output_dir = Path(own.output_dir or f"runs/reproduce-{example.dataset}-{example.preset}")
    dataset = open_dataset(example.dataset, Path(example.data_dir))
    runs = [
        _plan(output_dir, dataset, (row, fraction, seed), arguments)
        for fraction in own.fractions
        for row in own.methods
        for seed in own.seeds
    ]
    planned = tuple(run for run in runs if run is not None)
    if not planned:
        raise InputError(
            f"--methods {','.join(own.methods)} --fractions {flags.to_text(own.fractions)} leaves "
            "no run: no image would be unlabeled; allowed: a fraction below 1, or adv or baseline"
        )
    counts = {
        fraction: len(
            splits.by_fraction(dataset, example.train_split, fraction, own.seeds[0]).labeled
        )
        for fraction in own.fractions
    }
    return Grid(own, output_dir, dataset, counts, planned)


def _plan(
    output_dir: Path, dataset: Dataset, which: tuple[str, float, int], arguments: list[str]
) -> Run | None:
    """Returns the run of a row, fraction and seed.

    None if the method needs unlabeled images and there are none.
    """
    row, fraction, seed = which
    folder = output_dir / f"{row}-{flags.to_text(fraction)}-seed{seed}"
    full = [
        *arguments,
        *ROWS[row].flags,
        *("--method", ROWS[row].method),
        *("--labeled_fraction", flags.to_text(fraction)),
        *("--seed", str(seed)),
        *("--run_dir", str(folder)),
        "--resume",
    ]
    settings = config.train_config(full)
    if (folder / config.CONFIG_FILE).is_file():
        _require_same(config.stored_config(folder), full, folder)
    split = splits.by_fraction(dataset, settings.train_split, fraction, seed)
    if settings.recipe().uses_unlabeled and not split.unlabeled:
        return None
    return Run(row, settings, tuple(full), len(split.labeled))


#: What runs of one table may do otherwise: it changes no weight.
_FREE = resume.CHANGEABLE - {"steps"}


def _require_same(stored: TrainConfig, arguments: list[str], folder: Path) -> None:
    """Raises InputError for a run that was begun with other settings than a new one would get.

    train.py compares what is given; a flag that was given before and is left out now would have it
    go on as before, beside new runs of other settings.
    """
    given = flags.parse(TrainConfig, arguments, "")
    fresh = dataclasses.asdict(config.resolve(given))
    # What is given is told before what follows from it.
    for name in sorted(fresh, key=lambda name: name not in given):
        value, was = fresh[name], getattr(stored, name)
        # None is decided when a run begins.
        if name not in _FREE and value is not None and value != was:
            raise InputError(
                f"--{name} would be {flags.to_text(value)}, and was {flags.to_text(was)} in "
                f"{folder}; allowed: the same for all runs of a table, or another --output_dir"
            )


def show_fraction(fraction: float) -> str:
    """Returns a share as tables have it: 1/8, full, or the number where it is no short quotient."""
    quotient = Fraction(fraction).limit_denominator(_LARGEST_DENOMINATOR)
    if float(quotient) != fraction:
        return f"{fraction:g}"
    return "full" if quotient == 1 else str(quotient)
