"""Lists every problem of a data set, where training stops at the first."""

import dataclasses
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tf_advseg import flags, presets, registry, textfile
from tf_advseg.data.checks.problem import Problem
from tf_advseg.data.prepare.settings import PROGRAM
from tf_advseg.errors import InputError
from tf_advseg.flags import choice, flag, integer, name, several, text

_DESCRIPTION = "Reads every file of a data set and lists all that is wrong. Writes nothing into it."
_EPILOG = """exit code: 0 if there is no problem, 2 if there are some. Warnings tell of what works,
but may not be meant."""


@dataclasses.dataclass(frozen=True)
class CheckSettings:
    """The flags of check."""

    data_dir: str | None = flag(None, text(), "folder of the data set")
    dataset: str = flag("folder", choice(registry.DATASETS), "which data set is in it")
    split: tuple[str, ...] = flag(
        (), several(name()), "a list to read, and may be given several times [all there are]"
    )
    train_split: str | None = flag(
        None, name(), "list of training images [train; train_aug of voc2012]"
    )
    val_split: str = flag("val", name(), "list of validation images, which need labels")
    max_shown: int | None = flag(None, integer(0), "problems shown of each kind [all]")
    output: str | None = flag(None, text(), "a file to write all of them to, one a line")


def check(argv: list[str]) -> None:
    """Checks a data set as the flags in `argv` say.

    Raises:
      InputError: a wrong flag or folder, or the data set has a problem.
    """
    given = flags.parse(CheckSettings, argv, _DESCRIPTION, _EPILOG, prog=f"{PROGRAM} check")
    if "data_dir" not in given:
        raise InputError("--data_dir is missing; allowed: the folder of a data set")
    settings = CheckSettings(**given)
    folder = Path(settings.data_dir)
    output = _output(settings.output, folder)
    # NumPy and Pillow, which the help needs not.
    from tf_advseg.data.checks import examination, reading, summary

    survey = reading.survey(
        settings.dataset,
        folder,
        settings.train_split or presets.train_split(settings.dataset),
        settings.val_split,
        settings.split,
    )
    found = examination.examine(survey)
    if output is not None:
        _write(output, found)
    _show(found, settings.max_shown)
    for line in summary.summary(survey, found):
        print(textfile.printable(line))
    problems = [problem for problem in found if not problem.is_warning]
    if problems:
        wrong = {problem.path for problem in problems}
        number = summary.counted(len(problems), "problem")
        files = summary.counted(len(survey.files() | wrong), "file")
        raise InputError(f"{number} in {len(wrong)} of {files} of {folder}")


def _output(given: str | None, folder: Path) -> Path | None:
    """Returns the file that is written, which is outside of the data folder.

    Raises:
      InputError: it is inside, or is a folder.
    """
    if given is None:
        return None
    path, home = Path(given), os.path.realpath(folder)
    if Path(os.path.realpath(path)).is_relative_to(home) or os.path.isdir(path):
        raise InputError(f"--output {path}; allowed: a file outside of {folder}")
    return path


def _write(path: Path, found: Sequence[Problem]) -> None:
    lines = (f"{_severity(p)}\t{p.kind}\t{textfile.printable(p.text)}\n" for p in found)
    try:
        textfile.write(path, "".join(lines))
    except OSError as error:
        raise InputError(f"cannot write --output {path}: {error.strerror}") from None


def _show(found: Sequence[Problem], limit: int | None) -> None:
    """Prints problems by kind, `limit` of each at most."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for problem in found:
        groups[_severity(problem), problem.kind].append(textfile.printable(problem.text))
    for (severity, kind), texts in groups.items():
        print(f"{severity}: {kind} ({len(texts)})")
        for line in texts[:limit]:
            print(f"  {line}")
        if limit is not None and len(texts) > limit > 0:
            print(f"  ... and {len(texts) - limit} more")
    if found:
        print()


def _severity(problem: Problem) -> str:
    return "warning" if problem.is_warning else "problem"
