"""How much of the crops is padding, known before any is made. No TensorFlow here."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

#: From this share on, a run spends most of its time on pixels that count nowhere.
MUCH = 0.5

#: So many images tell the share of all, and a run of many begins no later for it.
_IMAGES_LOOKED_AT = 200

_SCALES_LOOKED_AT = 20


def padding_problem(
    cached_labels: Sequence[Path],
    crop_size: tuple[int, int],
    input_scale: float,
    random_scale: tuple[float, float],
) -> str:
    """Says that most of a mean crop by `augment.random_scale` is padding; "" if it is not.

    Args:
      cached_labels: of `labels.prepare_labels`, which have the sizes of their images.
      crop_size: height and width, in pixels.
      input_scale, random_scale: see `pipeline.Views`.
    """
    every = max(1, len(cached_labels) // _IMAGES_LOOKED_AT)
    sizes = [_size(label) for label in cached_labels[::every]]
    scales = np.linspace(*random_scale, _SCALES_LOOKED_AT) * input_scale
    share = padded_share(sizes, crop_size, scales)
    if share < MUCH:
        return ""
    height, width = (statistics.median(lengths) * input_scale for lengths in zip(*sizes))
    return (
        f"{100 * share:.0f} % of an average crop of {crop_size[1]}x{crop_size[0]} pixels is "
        f"padding: the images have {width:.0f}x{height:.0f}; a smaller --crop_size learns faster"
    )


def padded_share(
    sizes: Iterable[tuple[int, int]], crop_size: tuple[int, int], scales: Iterable[float]
) -> float:
    """Returns the share of the pixels of crops that lie outside of the images, in 0-1.

    Args:
      sizes: height and width of each image, in pixels; at least one.
      crop_size: of the crops, likewise.
      scales: of the images, equally frequent; at least one.
    """
    scaled = np.multiply.outer(np.asarray(list(scales)), np.asarray(list(sizes)))
    filled = np.minimum(scaled / np.asarray(crop_size), 1)
    return float(1 - filled.prod(axis=-1).mean())


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.height, image.width
