"""Small text files, written so that a crash leaves the old one or the new one."""

import uuid
from pathlib import Path

from tf_advseg import disk

_ENDING = ".tmp"


def write(path: Path, text: str) -> None:
    """Writes UTF-8 text to a file, at once or not at all, whoever else writes it meanwhile."""
    # In containers that share a folder all process ids may be 1.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_ENDING}")
    try:
        temporary.write_text(text, encoding="utf-8")
        disk.sync(temporary)  # Or a power loss may leave the new name without its text.
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    disk.sync(path.parent)


def is_unfinished(path: Path) -> bool:
    """Returns whether a file is what `write` leaves behind where it is killed."""
    return path.name.startswith(".") and path.name.endswith(_ENDING)
