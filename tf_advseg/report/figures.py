"""Pictures of a prediction, small enough to be put into a page."""

import io

import numpy as np
from PIL import Image

from tf_advseg.data import VOID_LABEL
from tf_advseg.evaluation import pictures
from tf_advseg.report.content import Picture
from tf_advseg.report.regions import region_numbers

#: How an error is shown: RGB by kind of pixel. They differ in brightness too.
RIGHT_COLOR, WRONG_COLOR, NO_CLASS_COLOR = (236, 240, 243), (140, 20, 40), (160, 166, 172)
#: In the order of the strip.
TITLES = ("input", "truth", "prediction", "error", "confidence")

_RIGHT, _WRONG, _NO_CLASS = range(3)
_LONGER_SIDE = 480  # Pixels. Thirty pictures of this size then take about 1 MB.
_JPEG_QUALITY = 80
_PNG, _JPEG = "image/png", "image/jpeg"


def strip(
    image: np.ndarray,
    label: np.ndarray,
    class_ids: np.ndarray,
    confidence: np.ndarray,
    colors: pictures.Colors,
) -> tuple[Picture, ...]:
    """Returns input, truth, prediction, error and confidence, one picture each.

    Larger pictures are made smaller; those of classes without mixing any two.

    Args:
      image: uint8 or float [H, W, 3], RGB in 0-255.
      label: integers [H, W], VOID_LABEL where there is no class.
      class_ids: the predicted classes, integers [H, W].
      confidence: float [H, W] in 0-1.
      colors: of the classes.
    """
    size = _shown_size(*label.shape)
    rgb = Image.fromarray(np.clip(np.round(image), 0, 255).astype(np.uint8))
    sure = Image.fromarray(confidence.astype(np.float32), "F").resize(size, Image.Resampling.BOX)
    levels = np.round(255 * np.clip(np.nan_to_num(np.asarray(sure)), 0, 1))
    truth, predicted = (_resized_classes(classes, size) for classes in (label, class_ids))
    error = np.where(truth == predicted, _RIGHT, _WRONG)
    error[truth == VOID_LABEL] = _NO_CLASS
    palette = pictures.palette(colors)
    error_palette = np.array((RIGHT_COLOR, WRONG_COLOR, NO_CLASS_COLOR), np.uint8)
    titles = iter(TITLES)
    return (
        _jpeg(next(titles), rgb.resize(size, Image.Resampling.BOX)),
        _indexed(next(titles), truth, palette, numbered=True),
        _indexed(next(titles), predicted, palette, numbered=True),
        _indexed(next(titles), error, error_palette),
        _indexed(next(titles), levels, pictures.colorize_confidence(np.arange(256) / 255)),
    )


def _shown_size(height: int, width: int) -> tuple[int, int]:
    """Returns the width and height of a picture of something of this size."""
    scale = min(1.0, _LONGER_SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized_classes(class_ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = Image.fromarray(class_ids.astype(np.uint8))
    return np.asarray(picture.resize(size, Image.Resampling.NEAREST))


def _indexed(
    title: str, values: np.ndarray, palette: np.ndarray, *, numbered: bool = False
) -> Picture:
    picture = Image.fromarray(values.astype(np.uint8), "P")
    picture.putpalette(palette.tobytes())
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    numbers = region_numbers(values) if numbered else ()
    return Picture(title, _PNG, data.getvalue(), picture.size, numbers)


def _jpeg(title: str, picture: Image.Image) -> Picture:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return Picture(title, _JPEG, data.getvalue(), picture.size)
