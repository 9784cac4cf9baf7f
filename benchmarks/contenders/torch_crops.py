"""The crops of `tf_advseg.data.augment.random_scale`, by Pillow, NumPy and PyTorch.

No library of ours here: it is what a PyTorch user would write. Images are resized by PyTorch's
kernel for bytes, which was the fastest that was found, or by Pillow's, which is the usual one.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

VOID = 255


@dataclasses.dataclass(frozen=True)
class Crop:
    """Which part of an image a crop shows, and how large; rows first.

    `corner` is where the part starts, `window` its height and width, `size` its size in the crop.
    """

    corner: tuple[int, int]
    window: tuple[int, int]
    size: tuple[int, int]
    mirrored: bool


def draw(
    generator: random.Random,
    image_size: tuple[int, int],
    crop_size: Sequence[int],
    scales: tuple[float, float],
) -> Crop:
    """Draws a crop of height and width `crop_size` from an image of height and width."""
    scale = generator.uniform(*scales)
    corner, window, size = [], [], []
    for side, wanted in zip(image_size, crop_size, strict=True):
        scaled = max(1, round(side * scale))
        shown = min(side, max(1, round(wanted / scale))) if scaled > wanted else side
        corner.append(generator.randint(0, side - shown))
        window.append(shown)
        size.append(min(scaled, wanted))
    return Crop(tuple(corner), tuple(window), tuple(size), generator.random() < 0.5)


def by_torch(image: Image.Image, crop: Crop) -> np.ndarray:
    """Returns the window of an RGB image, resized; uint8 [h, w, 3]."""
    (top, left), (height, width) = crop.corner, crop.window
    pixels = np.array(image)[top : top + height, left : left + width]
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    resized = functional.interpolate(channels_first, crop.size, mode="bilinear")
    return resized[0].permute(1, 2, 0).numpy()


def by_pillow(image: Image.Image, crop: Crop) -> np.ndarray:
    """As `by_torch`; where it shrinks, the kernel is wider."""
    size = crop.size[1], crop.size[0]
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, _box(crop)))


RESIZES: dict[str, Callable[[Image.Image, Crop], np.ndarray]] = {
    "torch": by_torch,
    "Pillow": by_pillow,
}


def crop_image(
    image: Image.Image,
    crop: Crop,
    crop_size: Sequence[int],
    padding_color: Sequence[float],
    resize: str,
) -> np.ndarray:
    """Returns the crop, uint8 [h, w, 3], by one of RESIZES. Only what it shows is resized."""
    color = np.round(padding_color).astype(np.uint8)
    return _place(RESIZES[resize](image, crop), crop, crop_size, color)


def crop_label(label: Image.Image, crop: Crop, crop_size: Sequence[int]) -> np.ndarray:
    """Returns the crop of a grey image of class ids, uint8 [h, w]; VOID outside of it."""
    size = crop.size[1], crop.size[0]
    ids = np.asarray(label.resize(size, Image.Resampling.NEAREST, _box(crop)))
    return _place(ids, crop, crop_size, VOID)


def crop_valid(crop: Crop, crop_size: Sequence[int]) -> np.ndarray:
    """Returns which pixels of the crop show the image, bool [h, w]."""
    return _place(np.ones(crop.size, bool), crop, crop_size, False)


def _box(crop: Crop) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom, as Pillow has them."""
    (top, left), (height, width) = crop.corner, crop.window
    return left, top, left + width, top + height


def _place(pixels: np.ndarray, crop: Crop, crop_size: Sequence[int], padding) -> np.ndarray:
    if pixels.shape[:2] != tuple(crop_size):
        canvas = np.empty((*crop_size, *pixels.shape[2:]), pixels.dtype)
        canvas[:] = padding
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        pixels = canvas
    return np.ascontiguousarray(pixels[:, ::-1]) if crop.mirrored else np.array(pixels)
