"""Bytes: how many are read at a time, and how they are told. No NumPy here."""

import contextlib

from tf_advseg.progress import Progress

CHUNK = 2**20  # Bytes that are read at a time.
MEGABYTE = 10**6
_GIGABYTE = 10**9


def in_words(size: int) -> str:
    """Returns a number of bytes in GB or MB."""
    if size >= _GIGABYTE:
        return f"{size / _GIGABYTE:.1f} GB"
    return f"{size / MEGABYTE:.1f} MB"


def megabytes(title: str, size: int, done: int = 0) -> contextlib.closing:
    """Returns a context with the progress of `size` bytes, to be updated in megabytes."""
    progress = Progress(f"{title}, MB", size // MEGABYTE, done=done // MEGABYTE, delay=2.0)
    return contextlib.closing(progress)
