"""The flags that every part has. No NumPy here, so that `--help` is instant."""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from tf_advseg import flags
from tf_advseg.flags import Kind, boolean, flag, integer, text
from tf_advseg.reproduce.rows import PUBLISHED

#: How the command is called, before the name of a part.
PROGRAM = "python -m benchmarks"

BACKBONES = ("small", "resnet50", "resnet101")
METHODS = PUBLISHED  # The PyTorch reference has no others.
PRECISIONS = ("float32", "bfloat16")
BATCH_NORMS = ("frozen", "train", "frozen_affine")


@dataclasses.dataclass(frozen=True)
class Common:
    """What every part is told."""

    repetitions: int = flag(5, integer(1), "timed repetitions of each contender, taken in turn")
    warmup: int = flag(2, integer(0), "repetitions before them, not counted")
    output_dir: str = flag("runs/bench", text(), "folder of the results, PART.json each")
    limits: bool = flag(
        True, boolean(), "measure the machine's matrix products before and after, for reference"
    )


Given = TypeVar("Given", bound=Common)


def names(allowed: Iterable[str]) -> Kind:
    """Different ones of the given names, comma-separated."""
    allowed = tuple(allowed)

    def parse(value: str) -> tuple[str, ...]:
        parts = tuple(value.split(","))
        if len(set(parts)) < len(parts) or not set(parts) <= set(allowed):
            raise ValueError
        return parts

    return Kind(parse, "different ones of " + ", ".join(allowed), "NAME,...")


def sizes() -> Kind:
    """Sizes of images, N or HxW in pixels, comma-separated."""

    def parse(value: str) -> tuple[str, ...]:
        parts = tuple(value.split(","))
        if len(set(parts)) < len(parts) or any(min(height_width(part)) < 1 for part in parts):
            raise ValueError
        return parts

    return Kind(parse, "different sizes N or HxW, in pixels, such as 321,512x1024", "N|HxW,...")


def height_width(size: str) -> tuple[int, int]:
    """Returns height and width of a size N or HxW.

    Raises:
      ValueError: it is no such size.
    """
    height, _, width = size.partition("x")
    return int(height), int(width or height)


def read(cls: type[Given], part: str, argv: list[str], description: str) -> Given:
    """Returns the flags of a part in `argv`, checked.

    Raises:
      InputError: an unknown flag, or a value that is not allowed.
    """
    given: dict[str, Any] = flags.parse(cls, argv, description, prog=f"{PROGRAM} {part}")
    return cls(**given)
