"""The flags of `python -m tf_advseg.reproduce`; all others are train.py's. No TensorFlow here."""

import dataclasses
import sys
from fractions import Fraction
from typing import Any

from tf_advseg import flags, registry
from tf_advseg.errors import InputError
from tf_advseg.flags import Kind, flag, switch, text

#: What this script decides for each run -> the flag that says it.
_DECIDED = {
    "method": "methods",
    "labeled_fraction": "fractions",
    "labeled_list": "fractions",
    "seed": "seeds",
    "run_dir": "output_dir",
    "resume": "output_dir",
}


def _several(parse_one: Any, allowed: str, metavar: str) -> Kind:
    """Comma-separated values, each once."""

    def parse(value: str) -> tuple:
        values = tuple(parse_one(part.strip()) for part in value.split(","))
        if len(set(values)) < len(values):
            raise ValueError
        return values

    return Kind(parse, allowed, metavar)


def _method(value: str) -> str:
    if value not in registry.METHODS:
        raise ValueError
    return value


def parse_fraction(value: str) -> float:
    """Returns a share in (0, 1] given as 0.125, as 1/8 or as full.

    Raises:
      ValueError: it is none.
    """
    number = 1.0 if value == "full" else _quotient(value)
    if not 0 < number <= 1:
        raise ValueError
    return number


def _quotient(value: str) -> float:
    try:
        return float(Fraction(value))
    except ZeroDivisionError:
        raise ValueError from None


def _seed(value: str) -> int:
    if int(value) < 0:
        raise ValueError
    return int(value)


@dataclasses.dataclass(frozen=True)
class ReproduceConfig:
    """The flags that say which runs there are, and what is done with them."""

    methods: tuple[str, ...] = flag(
        tuple(registry.METHODS),
        _several(_method, "different ones of " + ", ".join(registry.METHODS), "METHOD,..."),
        "rows of the table",
    )
    fractions: tuple[float, ...] = flag(
        (0.125, 0.25, 0.5, 1.0),
        _several(parse_fraction, "different shares such as 1/8,0.5,full", "X,..."),
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


def parse(argv: list[str] | None = None) -> tuple[ReproduceConfig, list[str]]:
    """Returns this script's own settings, and the arguments that every run gets.

    Raises:
      InputError: a wrong flag, or one of train.py's that this script decides.
    """
    given, rest = flags.parse_known(
        ReproduceConfig,
        sys.argv[1:] if argv is None else argv,
        "Run methods x fractions x seeds and write their table.",
        "Any other flag is train.py's, and is the same for all runs: see python train.py --help.\n"
        "What is finished is skipped, and what was interrupted is resumed.",
    )
    for argument in rest:
        name = argument.removeprefix("--").split("=")[0]
        if argument.startswith("--") and name in _DECIDED:
            raise InputError(f"--{name} is different in each run; allowed: --{_DECIDED[name]}")
    return ReproduceConfig(**given), rest
