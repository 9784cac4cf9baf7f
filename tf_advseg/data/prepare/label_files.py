"""Label files of archives: read to class ids, and written as indexed PNG. No TensorFlow here."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from tf_advseg.data import VOID_COLOR, VOID_LABEL
from tf_advseg.data.classes import Classes
from tf_advseg.data.images import UNREADABLE
from tf_advseg.errors import InputError

MAX_PIXELS = 2**24  # Of one label; Cityscapes' have 2 million.
_BYTE = 256
_BIT_DEPTH = 24  # Where a PNG file has the bits of a pixel; its kind of colour comes next.
_GREY = 0


def own_ids(classes: Classes, *, void: bool = True) -> dict[int, int]:
    """Returns value -> class id of labels that hold the class ids themselves.

    Args:
      classes: the data set's.
      void: whether they mark pixels without class, by `classes.void_value`.
    """
    ids = {index: index for index in range(len(classes))}
    return {**ids, classes.void_value: VOID_LABEL} if void else ids


def to_class_ids(values: np.ndarray, meaning: Mapping[int, int], name: str) -> np.ndarray:
    """Returns uint8 [H, W]: class ids and VOID_LABEL.

    Args:
      values: uint8 [H, W], of a label file.
      meaning: value -> class id or VOID_LABEL.
      name: of the file, for errors.

    Raises:
      InputError: a value without meaning.
    """
    table, known = np.full(_BYTE, VOID_LABEL, np.uint8), np.zeros(_BYTE, bool)
    table[list(meaning)] = list(meaning.values())
    known[list(meaning)] = True
    present = np.bincount(values.ravel(), minlength=_BYTE) > 0
    if (wrong := np.flatnonzero(present & ~known)).size:
        raise InputError(f"{name} has the value {wrong[0]}; allowed: {_ranges(sorted(meaning))}")
    return table[values]


def _ranges(values: list[int]) -> str:
    """Returns sorted numbers in words, as in "0-20, 255"."""
    parts: list[list[int]] = []
    for value in values:
        if parts and value == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], value]
        else:
            parts.append([value])
    return ", ".join("-".join(map(str, part)) for part in parts)


def read_png(content: bytes, name: str) -> np.ndarray:
    """Returns the values of a grey or indexed PNG of at most 8 bits a pixel, uint8 [H, W].

    Raises:
      InputError: it is something else, is damaged, or is too large.
    """
    return _values(_opened(content, name), content, name)


def read_voc_png(content: bytes, classes: Classes, name: str) -> np.ndarray:
    """Returns the class ids of a label in one of the forms that VOC's are passed on in.

    Args:
      content: of a PNG: class ids, grey or indexed; or their colours. An indexed one in which every
        colour is a class's is told by its colours: some programs sort a palette anew.
      classes: the data set's.
      name: of the file, for errors.

    Returns:
      uint8 [H, W]: class ids and VOID_LABEL.

    Raises:
      InputError: the file is none of these, or has a value or colour that is no class.
    """
    image = _opened(content, name)
    colors = {_packed(color): index for index, color in enumerate(classes.colors)}
    colors[_packed(VOID_COLOR)] = classes.void_value
    if image.mode in ("RGB", "RGBA"):
        return _from_colors(_pixels(image, name), colors, classes, name)
    values = _values(image, content, name)
    if image.mode == "P":
        values = _by_palette(values, image, colors)
    return to_class_ids(values, own_ids(classes), name)


def _from_colors(
    pixels: np.ndarray, colors: Mapping[int, int], classes: Classes, name: str
) -> np.ndarray:
    """Returns the class ids [H, W] of colours, uint8 [H, W, 3 or more]."""
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    found, where = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    for color in found.tolist():
        if color not in colors:
            shown = color >> 16, color >> 8 & 0xFF, color & 0xFF
            raise InputError(
                f"{name} has the colour {shown}; allowed: those of the {len(classes)} classes of "
                f"{classes.name}, and {VOID_COLOR} for void"
            )
    values = np.array([colors[color] for color in found.tolist()], np.uint8)
    return to_class_ids(values[where].reshape(red.shape), own_ids(classes), name)


def _by_palette(values: np.ndarray, image: Image.Image, colors: Mapping[int, int]) -> np.ndarray:
    """Returns the indices, or what their colours stand for if all of them are a class's."""
    palette = np.array(image.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    packed = dict(enumerate(palette[:, 0] << 16 | palette[:, 1] << 8 | palette[:, 2]))
    present = np.unique(values).tolist()
    if not all(packed.get(index) in colors for index in present):
        return values
    table = np.zeros(_BYTE, np.uint8)
    table[present] = [colors[packed[index]] for index in present]
    return table[values]


def _packed(color: tuple[int, int, int]) -> int:
    red, green, blue = color
    return red << 16 | green << 8 | blue


def _opened(content: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=["PNG"])
    except UNREADABLE:
        raise InputError(f"{name} is no PNG, or is cut off") from None
    if image.width * image.height > MAX_PIXELS:
        raise InputError(
            f"{name} is {image.width}x{image.height}; allowed: {MAX_PIXELS} pixels at most"
        )
    return image


def _values(image: Image.Image, content: bytes, name: str) -> np.ndarray:
    bits, kind = content[_BIT_DEPTH : _BIT_DEPTH + 2]
    # Pillow stretches fewer bits to 0-255, so that a class id would be told wrong.
    if image.mode not in ("L", "P") or (kind == _GREY and bits != 8):
        raise InputError(
            f"{name} has mode {image.mode} and {bits} bits; "
            "allowed: an indexed PNG, or a grey one of 8 bits"
        )
    return _pixels(image, name)


def _pixels(image: Image.Image, name: str) -> np.ndarray:
    try:
        return np.asarray(image)
    except UNREADABLE:
        raise InputError(f"{name} is damaged or cut off") from None


def to_png(class_ids: np.ndarray, classes: Classes) -> bytes:
    """Returns an indexed PNG of class ids, uint8 [H, W] with VOID_LABEL, in the classes' colours.

    The same label always gives the same bytes.
    """
    palette = np.zeros((_BYTE, 3), np.uint8)
    palette[: len(classes)] = classes.colors
    palette[VOID_LABEL] = VOID_COLOR
    image = Image.fromarray(class_ids)
    image.putpalette(palette.ravel().tolist())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
