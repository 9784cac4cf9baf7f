"""TensorBoard's event files of a run, cut where a checkpoint was.

A run that is resumed takes the steps past its last checkpoint again. Their points would be in the
curves twice: TensorBoard leaves out the earlier ones only of what it has not read yet.
"""

import os
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

#: Of a record of TFRecord: the length and its checksum before, a checksum behind the event.
_AROUND = 8 + 4 + 4


def paths(folder: Path) -> list[Path]:
    """Returns the event files in a folder, in the order in which they were begun."""
    return sorted(folder.glob("events.out.tfevents.*"))


def cut(folder: Path, step: int) -> None:
    """Removes from a folder's event files what is of steps past `step`, and what is half-written.

    A file of which nothing is left is removed.
    """
    for path in paths(folder):
        size, events = _until(path, step)
        if not events:
            path.unlink()
        elif size < path.stat().st_size:
            os.truncate(path, size)


def _until(path: Path, step: int) -> tuple[int, int]:
    """Returns the bytes and the number of a file's events up to the first that is past a step."""
    size = events = 0
    for record in RawEventFileLoader(str(path)).Load():
        event = Event.FromString(record)
        if event.step > step:
            break
        size += _AROUND + len(record)
        events += event.HasField("summary")
    return size, events
