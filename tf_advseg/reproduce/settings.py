"""The flags of `python -m tf_advseg.reproduce`; all others are train.py's. No TensorFlow here."""

import dataclasses
import sys
import textwrap
from typing import Any

from tf_advseg import flags
from tf_advseg.errors import InputError
from tf_advseg.flags import Kind, flag, integer, switch, text
from tf_advseg.reproduce.rows import PUBLISHED, ROWS

PROGRAM = "python -m tf_advseg.reproduce"

#: What this script decides for each run -> what the user is to do instead.
_DECIDED = {
    "method": "is different in each run; allowed: --methods",
    "labeled_fraction": "is different in each run; allowed: --fractions",
    "labeled_list": "is different in each run; allowed: --fractions",
    "seed": "is different in each run; allowed: --seeds",
    "run_dir": "is different in each run; allowed: --output_dir",
    "resume": "is always on; leave it out",
}


_LARGEST_SEED = 2**31 - 1


def _several(parse_one: Any, allowed: str, metavar: str) -> Kind:
    """Comma-separated values, each once."""

    def parse(value: str) -> tuple:
        values = tuple(parse_one(part.strip()) for part in value.split(","))
        if len(set(values)) < len(values):
            raise ValueError
        return values

    return Kind(parse, allowed, metavar)


def _method(value: str) -> str:
    if value not in ROWS:
        raise ValueError
    return value


def _seed(value: str) -> int:
    return integer(0, _LARGEST_SEED).parse(value)


@dataclasses.dataclass(frozen=True)
class ReproduceConfig:
    """The flags that say which runs there are, and what is done with them."""

    methods: tuple[str, ...] = flag(
        PUBLISHED,
        _several(_method, "different ones of " + ", ".join(ROWS), "METHOD,..."),
        "rows of the table: methods, or methods with flags of their own",
    )
    fractions: tuple[float, ...] = flag(
        (0.125, 0.25, 0.5, 1.0),
        _several(flags.parse_share, "different shares such as 1/8,0.5,full", "X,..."),
        "shares of the training images used as labeled, such as 1/8,1/2,full",
    )
    seeds: tuple[int, ...] = flag(
        (0,),
        _several(_seed, "different whole numbers of at least 0", "N,..."),
        "one run for each; the table has their mean and standard deviation",
    )
    output_dir: str | None = flag(
        None, text(), "folder of the runs and the table [runs/reproduce-DATASET-PRESET]"
    )
    dry_run: bool = flag(
        False, switch(), "print the commands and how long they would take, and run nothing"
    )
    table_only: bool = flag(
        False, switch(), "run nothing, and write the table of the runs that are finished"
    )


def parse(argv: list[str] | None = None) -> tuple[ReproduceConfig, list[str]]:
    """Returns this script's own settings, and the arguments that every run gets.

    Raises:
      InputError: a wrong flag, or one of train.py's that this script decides.
    """
    given, rest = flags.parse_known(
        ReproduceConfig,
        # What takes hours is not begun by a bare command.
        (sys.argv[1:] or ["--help"]) if argv is None else argv,
        "Run methods x fractions x seeds and write their table.",
        textwrap.fill(f"METHOD is one of {', '.join(ROWS)}.", 88) + "\n"
        "Any other flag is train.py's, and is the same for all runs: see python train.py --help.\n"
        "What is finished is skipped, and what was interrupted is resumed. The table has the runs\n"
        "of the last command: name all methods, fractions and seeds that it is to show.",
        PROGRAM,
    )
    for argument in rest:
        name = argument.removeprefix("--").split("=")[0]
        if argument.startswith("--") and name in _DECIDED:
            raise InputError(f"--{name} {_DECIDED[name]}")
    return ReproduceConfig(**given), rest
