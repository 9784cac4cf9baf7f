"""Long checks of what must be trusted: `python -m tests.soak [--part NAME]`.

Prints what each part found, writes it as JSON, and exits with 1 if something failed.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tf_advseg import cli, flags, textfile
from tf_advseg.errors import InputError
from tf_advseg.flags import choice, flag, integer, number, text
from tf_advseg.progress import Progress

_PROGRAM = "python -m tests.soak"


@dataclasses.dataclass(frozen=True)
class Part:
    """What can be checked for long.

    Attributes:
      run: (settings, an empty folder to work in) -> figures, a dataclass.
      problems: (figures) -> a line for each thing that is wrong.
    """

    run: Callable[["Settings", Path], Any]
    problems: Callable[[Any], list[str]]


def _fuzz(settings: "Settings", folder: Path) -> Any:
    from tests.soak.fuzz import fuzz

    progress = Progress("damaged files", settings.inputs)
    try:
        return fuzz(settings.inputs, settings.seed, tick=progress.update)
    finally:
        progress.close()


def _fuzz_problems(figures: Any) -> list[str]:
    return [f"{one.target}, --seed {one.seed}: {one.problem}" for one in figures.failures]


def _growth(settings: "Settings", folder: Path) -> Any:
    from tests.soak.growth import grow

    progress = Progress("seconds of sampling", round(60 * settings.minutes))
    try:
        return grow(settings.minutes, folder, lambda minutes: progress.update(round(60 * minutes)))
    finally:
        progress.close()


def _growth_problems(figures: Any) -> list[str]:
    from tests.soak.growth import problems

    drifts = {"training": figures.training, "serving": figures.serving}
    return [f"{name}: {line}" for name, drift in drifts.items() for line in problems(drift)]


def _kills(settings: "Settings", folder: Path) -> Any:
    from tests.soak.kills import survive_kills

    folder.mkdir()
    return survive_kills(settings.kills, settings.seed, folder)


#: name -> part. To add one, write how it is run and what is wrong with its figures, and its line.
PARTS = {
    "kills": Part(_kills, lambda figures: figures.differences),
    "fuzz": Part(_fuzz, _fuzz_problems),
    "growth": Part(_growth, _growth_problems),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The flags."""

    part: str | None = flag(None, choice(PARTS), "only this one [all, one after the other]")
    kills: int = flag(30, integer(1), "of kills: at least so many")
    minutes: float = flag(30.0, number(0, above=True), "of growth: training and serving together")
    inputs: int = flag(5000, integer(1), "of fuzz: damaged files")
    seed: int = flag(0, integer(0), "of all randomness; of fuzz, the first input's number")
    output: str | None = flag(None, text(), "write the figures to this JSON file")


def main() -> None:
    settings = Settings(**flags.parse(Settings, None, __doc__.splitlines()[0], prog=_PROGRAM))
    names = [settings.part] if settings.part else list(PARTS)
    document: dict[str, Any] = {}
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            figures = PARTS[name].run(settings, Path(folder) / name)
        problems = PARTS[name].problems(figures)
        failed += len(problems)
        document[name] = {**dataclasses.asdict(figures), "problems": problems}
        print(f"{name}: {json.dumps(dataclasses.asdict(figures), indent=1)}")
        for line in problems:
            print(f"{name} found: {line}")
        if settings.output:
            _write(Path(settings.output), document)
    print(f"{failed} problems" if failed else "nothing found")
    sys.exit(1 if failed else 0)


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        textfile.write(path, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"cannot write --output {path}: {error.strerror}") from None


if __name__ == "__main__":
    cli.run(main, stopped="stopped")
