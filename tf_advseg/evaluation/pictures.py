"""Pictures of predictions: class colours, confidence, errors, and indexed mask files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from tf_advseg.data import VOID_COLOR, VOID_LABEL

#: How right and wrong pixels are shown, and those without a class.
RIGHT_COLOR, WRONG_COLOR, NEUTRAL_COLOR = (238, 238, 238), (30, 30, 30), (150, 150, 150)
_PALETTE_SIZE = 256

Colors = Sequence[tuple[int, int, int]]


def palette(colors: Colors) -> np.ndarray:
    """Returns uint8 [256, 3]: the classes' colours, and VOID_COLOR for every other value."""
    table = np.full((_PALETTE_SIZE, 3), VOID_COLOR, np.uint8)
    table[: len(colors)] = colors
    return table


def colorize(class_ids: np.ndarray, colors: Colors) -> np.ndarray:
    """Returns uint8 [H, W, 3] for class ids or a label, integers [H, W]."""
    return palette(colors)[class_ids]


def colorize_confidence(confidence: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W, 3] for a confidence [H, W] in 0-1: dark blue low, yellow high."""
    return colormaps["viridis"](confidence, bytes=True)[..., :3]


def colorize_error(label: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W, 3]: light where the class is right, dark where not, grey where void.

    Args:
      label: integers [H, W], VOID_LABEL where there is no class.
      class_ids: integers [H, W].
    """
    error = np.where((label == class_ids)[..., np.newaxis], RIGHT_COLOR, WRONG_COLOR)
    error[label == VOID_LABEL] = NEUTRAL_COLOR
    return error.astype(np.uint8)


def save_mask(path: Path, class_ids: np.ndarray, colors: Colors) -> None:
    """Writes class ids, integers [H, W], as an indexed PNG that shows them in their colours."""
    picture = Image.fromarray(np.asarray(class_ids, np.uint8), "P")
    picture.putpalette(palette(colors).tobytes())
    picture.save(path, "PNG")
