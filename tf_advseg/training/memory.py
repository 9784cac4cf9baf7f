"""Out of memory: what was too large, and settings that need less."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from tf_advseg import flags
from tf_advseg.errors import OutOfMemory
from tf_advseg.options import FULL, MIN_CROP_SIZE, RANDOM_CROP
from tf_advseg.train_options import TrainConfig

#: TensorFlow has the same error for a full disk and for too many open files.
_OF_MEMORY = re.compile(r"\bOOM\b|memory|allocat", re.IGNORECASE)
_CROP_STEP = 8  # Pixels; the usual output stride.


@contextlib.contextmanager
def answered(what: str, tries: str) -> Iterator[None]:
    """Says in one line that memory does not do for the work in this context.

    Args:
      what: the work.
      tries: settings that need less.

    Raises:
      OutOfMemory: instead of TensorFlow's error or Python's.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise OutOfMemory(f"out of memory in {what}{reason}; try {tries}") from error


def step(config: TrainConfig) -> str:
    """Returns what a training step holds, in words."""
    kinds = f"{config.batch_size} labeled"
    if config.recipe().uses_unlabeled:
        kinds += f" and {config.batch_size} unlabeled"
    return f"a step of {kinds} crops of {flags.to_text(config.crop_size)} in {config.precision}"


def smaller_step(config: TrainConfig, replicas: int, *, has_gpu: bool) -> str:
    """Returns settings under which a step needs less memory, those that cost least first.

    Args:
      config: of the run.
      replicas: among which each batch is parted alike.
      has_gpu: whether float16 is fast.
    """
    tries = []
    if not config.recompute:
        tries.append("--recompute true (a begun run can --resume with it)")
    new = []
    if has_gpu and config.precision == "float32":
        new.append("--precision mixed_float16")
    if batch := config.batch_size // 2 // replicas * replicas:
        new.append(f"--batch_size {batch} (now {config.batch_size})")
    crop = tuple(_three_quarters(side) for side in config.crop_size)
    if crop != config.crop_size:
        new.append(f"--crop_size {flags.to_text(crop)} (now {flags.to_text(config.crop_size)})")
    if new:
        tries.append(f"in a new --run_dir {', or '.join(new)}")
    return "; or ".join(tries) or "a smaller --backbone"


def validation(config: TrainConfig) -> str:
    """Returns what a validation holds, in words."""
    if config.eval_protocol == FULL:
        return "a validation on full images"
    return f"a validation on images of {flags.to_text(config.eval_size)}"


def smaller_validation(config: TrainConfig) -> str:
    """Returns settings under which a validation needs less memory."""
    size = config.crop_size
    if config.eval_protocol == RANDOM_CROP:
        size = tuple(max(1, side // 2) for side in config.eval_size)
    crops = f"--eval_protocol {RANDOM_CROP} --eval_size {flags.to_text(size)}"
    return f"in a new --run_dir {crops}"


def _three_quarters(side: int) -> int:
    """Returns about 3/4 of a side, as far from a multiple of the output stride as before."""
    over = side % _CROP_STEP
    smaller = (side * 3 // 4 - over) // _CROP_STEP * _CROP_STEP + over
    return smaller if smaller >= MIN_CROP_SIZE else side


def _reason(error: BaseException) -> str | None:
    """Returns the line that says what was asked for, in brackets; None if it was no memory."""
    if isinstance(error, MemoryError):
        return f" ({error})" if str(error) else ""
    lines = [line.strip() for line in error.message.splitlines() if _OF_MEMORY.search(line)]
    return f" ({lines[0]})" if lines else None
