"""Small text files, written so that a crash leaves the old one or the new one."""

import uuid
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Writes UTF-8 text to a file, at once or not at all, whoever else writes it meanwhile."""
    # In containers that share a folder all process ids may be 1.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
