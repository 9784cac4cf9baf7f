"""The flags that every data set has, and how they are read. No NumPy here."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from tf_advseg import flags
from tf_advseg.errors import InputError
from tf_advseg.flags import flag, several, switch, text

#: How the command is called, before the name of a data set.
PROGRAM = "python -m tf_advseg.data.prepare"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a data set is prepared from, and where."""

    data_dir: str | None = flag(None, text(), "folder to prepare: new, empty, or begun before")
    archive: tuple[str, ...] = flag(
        (),
        several(text()),
        "a downloaded archive, or the folder it was extracted to; told by its contents, and may be "
        "given several times",
    )
    allow_other_archive: bool = flag(
        False, switch(), "accept archives that are not the official ones, and say so"
    )

    @property
    def folder(self) -> Path:
        """The folder to prepare."""
        return Path(self.data_dir or "")

    @property
    def archives(self) -> tuple[Path, ...]:
        """The archives that were given."""
        return tuple(map(Path, self.archive))


Given = TypeVar("Given", bound=Settings)


def read(
    cls: type[Given], data_set: str, argv: list[str], description: str, epilog: str = ""
) -> Given:
    """Returns the flags in `argv`, checked.

    Args:
      cls: Settings, or what a data set made of it.
      data_set: its name.
      argv: the arguments after the data set's name.
      description: the first line of the help.
      epilog: its last lines.

    Raises:
      InputError: an unknown flag, a value that is not allowed, no --data_dir, or an archive that is
        not there or is given twice.
    """
    given: dict[str, Any] = flags.parse(
        cls, argv, description, epilog, prog=f"{PROGRAM} {data_set}"
    )
    if "data_dir" not in given:
        raise InputError("--data_dir is missing; allowed: a new or empty folder")
    settings = cls(**given)
    seen: set[Path] = set()
    for archive in settings.archives:
        if not archive.exists():
            raise InputError(f"--archive {archive} does not exist")
        if archive.resolve() in seen:
            raise InputError(f"--archive {archive} is given twice")
        seen.add(archive.resolve())
    return settings
