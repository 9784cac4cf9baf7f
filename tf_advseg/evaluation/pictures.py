"""Pictures of predictions: class colours, confidence, strips, and indexed mask files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from tf_advseg.data import VOID_COLOR

_GAP, _WHITE = 4, 255  # Pixels between the pictures of a strip, and their brightness.
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


def strip(
    image: np.ndarray,
    label: np.ndarray,
    class_ids: np.ndarray,
    confidence: np.ndarray,
    colors: Colors,
) -> np.ndarray:
    """Returns input, truth, prediction and confidence side by side.

    Args:
      image: uint8 [H, W, 3].
      label: integers [H, W], VOID_LABEL where there is no class.
      class_ids: integers [H, W].
      confidence: float [H, W] in 0-1.
      colors: of the classes.

    Returns:
      uint8 [H, 4 W + gaps, 3].
    """
    pictures = [
        image,
        colorize(label, colors),
        colorize(class_ids, colors),
        colorize_confidence(confidence),
    ]
    gap = np.full((image.shape[0], _GAP, 3), _WHITE, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)


def save_mask(path: Path, class_ids: np.ndarray, colors: Colors) -> None:
    """Writes class ids, integers [H, W], as an indexed PNG that shows them in their colours."""
    picture = Image.fromarray(np.asarray(class_ids, np.uint8), "P")
    picture.putpalette(palette(colors).tobytes())
    picture.save(path, "PNG")
