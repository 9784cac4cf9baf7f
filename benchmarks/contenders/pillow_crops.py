"""The crops of `tf_advseg.data.augment.random_scale`, by Pillow and NumPy: the fastest right way.

No library of ours here: it is what a PyTorch user would write.
"""

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image

VOID = 255


@dataclasses.dataclass(frozen=True)
class Crop:
    """Where a crop lies: in the image scaled by `scale`, from (top, left) on, mirrored or not.

    `image_size` is the height and width of the image.
    """

    image_size: tuple[int, int]
    scale: float
    top: int
    left: int
    mirrored: bool


def draw(
    generator: random.Random,
    image_size: tuple[int, int],
    crop_size: Sequence[int],
    scales: tuple[float, float],
) -> Crop:
    """Draws a crop of height and width `crop_size` from an image of height and width."""
    scale = generator.uniform(*scales)
    room = (
        max(0, round(side * scale) - wanted)
        for side, wanted in zip(image_size, crop_size, strict=True)
    )
    top, left = (generator.randint(0, most) for most in room)
    return Crop(image_size, scale, top, left, generator.random() < 0.5)


def crop_image(
    image: Image.Image,
    crop: Crop,
    crop_size: Sequence[int],
    padding_color: Sequence[float],
) -> np.ndarray:
    """Returns the crop, uint8 [h, w, 3]. Only the part of the image that it shows is resized."""
    (height, width), box = _inside(crop, crop_size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box))
    return _place(pixels, crop, crop_size, np.round(padding_color).astype(np.uint8))


def crop_label(label: Image.Image, crop: Crop, crop_size: Sequence[int]) -> np.ndarray:
    """Returns the crop of a grey image of class ids, uint8 [h, w]; VOID outside of it."""
    (height, width), box = _inside(crop, crop_size)
    ids = np.asarray(label.resize((width, height), Image.Resampling.NEAREST, box))
    return _place(ids, crop, crop_size, VOID)


def crop_valid(crop: Crop, crop_size: Sequence[int]) -> np.ndarray:
    """Returns which pixels of the crop show the image, bool [h, w]."""
    size, _ = _inside(crop, crop_size)
    return _place(np.ones(size, bool), crop, crop_size, False)


def _inside(
    crop: Crop, crop_size: Sequence[int]
) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """Returns height and width of the part of the crop that shows the image, and Pillow's box."""
    ends = []
    for side, start, wanted in zip(crop.image_size, (crop.top, crop.left), crop_size, strict=True):
        # Pixels whose centre is inside of the image.
        ends.append(min(wanted, int(np.ceil(side * crop.scale - start - 0.5))))
    bottom = min(crop.image_size[0], (crop.top + ends[0]) / crop.scale)
    right = min(crop.image_size[1], (crop.left + ends[1]) / crop.scale)
    return (ends[0], ends[1]), (crop.left / crop.scale, crop.top / crop.scale, right, bottom)


def _place(pixels: np.ndarray, crop: Crop, crop_size: Sequence[int], padding) -> np.ndarray:
    if pixels.shape[:2] != tuple(crop_size):
        canvas = np.empty((*crop_size, *pixels.shape[2:]), pixels.dtype)
        canvas[:] = padding
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        pixels = canvas
    return np.ascontiguousarray(pixels[:, ::-1]) if crop.mirrored else np.array(pixels)
