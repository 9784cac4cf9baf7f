"""The files of checkpoints in a folder, by step: each checkpoint is there whole, or not at all.

A checkpoint is `step-N.data-...` and `step-N.index`. It is written beside them and moved in, the
index last, so that what the folder lists is all there is to know. The file `checkpoint` names the
newest to TensorFlow's own tools, and nothing here reads it.

TensorFlow is not imported here: which steps there are is asked without it.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tf_advseg import disk, textfile

if TYPE_CHECKING:
    import tensorflow as tf

_NAME = "step"
_INDEX = re.compile(rf"{_NAME}-(\d+)\.index")
_UNFINISHED = ".unfinished-"


def steps(folder: Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, ascending; the folder may be missing."""
    found = (_INDEX.fullmatch(path.name) for path in folder.glob(f"{_NAME}-*.index"))
    return sorted(int(match[1]) for match in found if match)


def prefix(folder: Path, step: int) -> str:
    """Returns the path by which TensorFlow knows a checkpoint: that of its files, cut short."""
    return str(folder / f"{_NAME}-{step}")


def write(checkpoint: "tf.train.Checkpoint", folder: Path, step: int) -> None:
    """Writes a checkpoint, in the place of the one of that step if there is one.

    Raises:
      OSError, tf.errors.OpError: it cannot be written; what was in the folder is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save_counter.assign_add(1)  # Whoever restores with TensorFlow alone looks for it.
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder) as unfinished:
        checkpoint.write(prefix(Path(unfinished), step))
        files = sorted(Path(unfinished).iterdir(), key=lambda path: path.suffix == ".index")
        for path in files:
            disk.sync(path)
        remove(folder, step)
        for path in files:
            path.rename(folder / path.name)
    disk.sync(folder)


def remove(folder: Path, step: int) -> None:
    """Removes the checkpoint of a step, if there is one."""
    name = f"{_NAME}-{step}"
    # First the index: without it the rest is no checkpoint.
    for path in (folder / f"{name}.index", *folder.glob(f"{name}.data-*")):
        path.unlink(missing_ok=True)


def keep(folder: Path, kept: set[int]) -> None:
    """Removes all checkpoints but some, and says to TensorFlow's tools which there are."""
    left = [step for step in steps(folder) if step in kept]
    if left:
        lines = [f'model_checkpoint_path: "{_NAME}-{left[-1]}"']
        lines += [f'all_model_checkpoint_paths: "{_NAME}-{step}"' for step in left]
        textfile.write(folder / "checkpoint", "\n".join(lines) + "\n")
    for step in set(steps(folder)) - kept:
        remove(folder, step)


def clean(folder: Path) -> None:
    """Removes what processes that were killed had not finished. Nobody may be writing there."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(path)
    listed = {f"{_NAME}-{step}" for step in steps(folder)}
    for path in folder.glob(f"{_NAME}-*.data-*"):
        if path.stem not in listed:  # It was moved in, or its index removed, and then the end came.
            path.unlink()


def size(folder: Path) -> int:
    """Returns the bytes that the checkpoints in a folder take."""
    return sum(path.stat().st_size for path in folder.glob(f"{_NAME}-*.*"))
