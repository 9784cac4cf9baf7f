"""Small text files, written so that a crash leaves the old one or the new one."""

import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Writes UTF-8 text to a file, at once or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
