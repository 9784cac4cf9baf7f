"""An image, its truth and what is predicted of it in one picture, with captions and a legend.

Classes are told by number too, for those who cannot tell their colours apart.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tf_advseg.data import VOID_COLOR
from tf_advseg.data.classes import Classes
from tf_advseg.evaluation import pictures, regions
from tf_advseg.evaluation.fonts import font_for

#: Pixels; what TensorBoard has for a picture in a window of 1400.
WIDTH = 984
#: Captions of the confidence: the discriminator's, or that of a run without one.
CONFIDENCE, LARGEST_PROBABILITY = "confidence", "largest probability"

_MARGIN = 12  # Pixels between pictures, and around all.
# Pictures that are so many times as wide as high stand in two columns, others in three.
_WIDE = 1.6
_LEAST_COLUMN = 160  # Pixels; a picture may be narrower than its caption.
_WHITE, _BLACK, _OUTLINE = (255, 255, 255), (0, 0, 0), (128, 128, 128)
_CAPTION_SIZE, _LEGEND_SIZE, _NUMBER_SIZE = 18, 17, 14
_LINE = 24  # Pixels from one line of text to the next.
_BELOW_CAPTION = 4
_SWATCH = (30, 20)  # Width and height of a colour in the legend.
_AFTER_SWATCH, _AFTER_NAME = 6, 20
_TO_NAME = _SWATCH[0] + _AFTER_SWATCH
_PADDING = 4  # Pixels around a class's number.
_ERROR = "error: wrong dark, right light, void grey"

Color = tuple[int, int, int]


def strip(
    image: np.ndarray,
    label: np.ndarray,
    class_ids: np.ndarray,
    confidence: np.ndarray,
    classes: Classes,
    confidence_name: str = CONFIDENCE,
) -> np.ndarray:
    """Returns input, truth, prediction, error, confidence and a legend, in rows of two or three.

    Args:
      image: uint8 [H, W, 3].
      label: integers [H, W], VOID_LABEL where there is no class.
      class_ids: integers [H, W].
      confidence: float [H, W] in 0-1.
      classes: their names and colours.
      confidence_name: the caption of the confidence.

    Returns:
      uint8 [H', W', 3], W' at most WIDTH.
    """
    columns, size = arrangement(image.shape[1], image.shape[0])
    label, class_ids = (_resized(np.asarray(ids, np.uint8), size) for ids in (label, class_ids))
    confidence = np.asarray(confidence, np.float32)
    panels = {
        "input": _resized(image, size, Image.Resampling.BOX),
        "truth": _numbered(label, classes),
        "prediction": _numbered(class_ids, classes),
        _ERROR: pictures.colorize_error(label, class_ids),
        confidence_name: pictures.colorize_confidence(
            _resized(confidence, size, Image.Resampling.BOX)
        ),
    }
    column = max(size[0], _LEAST_COLUMN)
    cells = _cells(list(panels), columns, column, size[1])
    last = cells[-1]
    bar_corner = last.left, last.top + size[1] + _BELOW_CAPTION
    legend_corner = last.left + column + _MARGIN, last.top
    legend = _legend_rows(classes, column)
    bottom = max(bar_corner[1] + _LINE, legend_corner[1] + _LINE * len(legend))
    width = _MARGIN + columns * (column + _MARGIN)
    canvas = Image.new("RGB", (width, bottom + _MARGIN), _WHITE)
    draw = ImageDraw.Draw(canvas)
    for cell in cells:
        # A caption of fewer lines than its neighbour stands right above its picture.
        first = cell.top - _BELOW_CAPTION - _LINE * len(cell.caption)
        for number, line in enumerate(cell.caption):
            _text(draw, (cell.left, first + _LINE * number), line, _CAPTION_SIZE)
        canvas.paste(Image.fromarray(panels[cell.title]), (cell.left, cell.top))
    _draw_legend(draw, legend_corner, legend)
    _draw_bar(canvas, bar_corner, column)
    return np.asarray(canvas)


class _Cell(NamedTuple):
    """A picture's title, the lines of its caption, and its upper left corner."""

    title: str
    caption: list[str]
    left: int
    top: int


def _cells(titles: list[str], columns: int, column: int, height: int) -> list[_Cell]:
    """Arranges pictures of a height in so many columns of a width."""
    cells, top = [], _MARGIN
    for first in range(0, len(titles), columns):
        row = titles[first : first + columns]
        captions = [_wrapped(title, column) for title in row]
        top += _LINE * max(map(len, captions)) + _BELOW_CAPTION
        for index, (title, caption) in enumerate(zip(row, captions)):
            cells.append(_Cell(title, caption, _MARGIN + index * (column + _MARGIN), top))
        top += height + _MARGIN
    return cells


def arrangement(width: int, height: int) -> tuple[int, tuple[int, int]]:
    """Returns the number of columns, and the width and height in which pictures are shown.

    Large ones are made smaller, and small ones are repeated a whole number of times.

    Args:
      width: of the image, in pixels.
      height: of the image, in pixels.
    """
    columns = 2 if width >= _WIDE * height else 3
    side = (WIDTH - _MARGIN) // columns - _MARGIN
    longer = max(width, height)
    if longer <= side:
        return columns, (width * (side // longer), height * (side // longer))
    return columns, tuple(max(1, round(length * side / longer)) for length in (width, height))


def _resized(
    picture: np.ndarray,
    size: tuple[int, int],
    smaller: Image.Resampling = Image.Resampling.NEAREST,
) -> np.ndarray:
    """Returns a picture of (width, height): by `smaller` if it shrinks, by nearest if it grows."""
    shrinks = size[0] < picture.shape[1] or size[1] < picture.shape[0]
    method = smaller if shrinks else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize(size, method))


def _text(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, size: int) -> None:
    """Writes black text into the line whose upper left corner is given."""
    middle = corner[0], corner[1] + _LINE // 2
    draw.text(middle, text, _BLACK, font_for(text, size), anchor="lm")


def _width(text: str, size: int) -> int:
    return math.ceil(font_for(text, size).getlength(text))


def _wrapped(text: str, width: int) -> list[str]:
    """Returns the lines of a caption."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer, _CAPTION_SIZE) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _ink(color: Color) -> Color:
    """Returns black or white, whichever is read better on a colour (ITU-R BT.601's luma)."""
    luma = np.dot(color, (0.299, 0.587, 0.114))
    return _BLACK if luma > 140 else _WHITE


def _number(
    draw: ImageDraw.ImageDraw, middle: tuple[float, float], number: int, color: Color
) -> None:
    """Writes a class's number on its colour."""
    text, size = str(number), _NUMBER_SIZE
    draw.text(middle, text, _ink(color), font_for(text, size), anchor="mm")


def _numbered(class_ids: np.ndarray, classes: Classes) -> np.ndarray:
    """Returns class ids in their colours, with the number of the class on each large region."""
    canvas = Image.fromarray(pictures.colorize(class_ids, classes.colors))
    draw = ImageDraw.Draw(canvas)
    # One box for all numbers, so that what is large enough does not depend on the class.
    widest = "8" * len(str(len(classes) - 1))
    left, top, right, bottom = font_for(widest, _NUMBER_SIZE).getbbox(widest)
    width, height = (math.ceil(length) + 2 * _PADDING for length in (right - left, bottom - top))
    for place in regions.places(class_ids, height, width):
        if place.class_id < len(classes):
            middle = place.left + width / 2, place.top + height / 2
            _number(draw, middle, place.class_id, classes.colors[place.class_id])
    return np.asarray(canvas)


class _Entry(NamedTuple):
    """A class in the legend, or void, whose id is None."""

    left: int
    class_id: int | None
    name: str
    color: Color


def _legend_rows(classes: Classes, width: int) -> list[list[_Entry]]:
    """Returns the legend in rows that are no wider than `width`, each from its left side on."""
    shown = [
        *zip(range(len(classes)), classes.names, classes.colors, strict=True),
        (None, "void", VOID_COLOR),
    ]
    rows: list[list[_Entry]] = [[]]
    left = 0
    for class_id, name, color in shown:
        name = _shortened(name, width - _TO_NAME)
        taken = _TO_NAME + _width(name, _LEGEND_SIZE)
        if rows[-1] and left + taken > width:
            rows.append([])
            left = 0
        rows[-1].append(_Entry(left, class_id, name, color))
        left += taken + _AFTER_NAME
    return rows


def _shortened(name: str, room: int) -> str:
    """Returns a name, or as much of it as there is room for."""
    if _width(name, _LEGEND_SIZE) <= room:
        return name
    while name and _width(f"{name}...", _LEGEND_SIZE) > room:
        name = name[:-1]
    return f"{name}..."


def _draw_legend(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], rows: Sequence[Sequence[_Entry]]
) -> None:
    for row, entries in enumerate(rows):
        for entry in entries:
            left, top = corner[0] + entry.left, corner[1] + row * _LINE
            width, height = _SWATCH
            above = (_LINE - height) // 2
            box = left, top + above, left + width - 1, top + above + height - 1
            draw.rectangle(box, fill=entry.color, outline=_OUTLINE)
            if entry.class_id is not None:
                middle = left + width / 2, top + _LINE / 2
                _number(draw, middle, entry.class_id, entry.color)
            _text(draw, (left + _TO_NAME, top), entry.name, _LEGEND_SIZE)


def _draw_bar(canvas: Image.Image, corner: tuple[int, int], width: int) -> None:
    """Draws the colours of confidence from 0 to 1, with both numbers."""
    draw = ImageDraw.Draw(canvas)
    left, top = corner
    beside = _width("0", _LEGEND_SIZE) + _AFTER_SWATCH
    length = width - 2 * beside
    bar = pictures.colorize_confidence(np.tile(np.linspace(0, 1, length), (_SWATCH[1], 1)))
    canvas.paste(Image.fromarray(bar), (left + beside, top + (_LINE - _SWATCH[1]) // 2))
    _text(draw, corner, "0", _LEGEND_SIZE)
    _text(draw, (left + beside + length + _AFTER_SWATCH, top), "1", _LEGEND_SIZE)
