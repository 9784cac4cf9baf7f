"""Fonts that have the letters of a text, in whatever script a class is named."""

import functools
from collections.abc import Iterator

from PIL import ImageFont


@functools.cache
def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Returns a font to write a text with: the first that has all of its letters.

    Pillow's own is the first, then the one that comes with Matplotlib (other Latin letters,
    Cyrillic, Greek and more), then those that are installed. Where none has them all, Pillow's own
    writes a box for each letter that it lacks.

    Args:
      text: to be written, in one line.
      size: of the letters, in pixels.
    """
    default = ImageFont.load_default(size)
    if text.isascii():
        return default
    wanted = {ord(letter) for letter in text if not letter.isspace()}
    for path in _font_files():
        if wanted <= _letters(path):
            return ImageFont.truetype(path, size)
    return default


def _font_files() -> Iterator[str]:
    # Slow to import, and hardly ever needed.
    from matplotlib import font_manager

    yield font_manager.findfont("DejaVu Sans")
    yield from sorted(font_manager.findSystemFonts())


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """Returns the Unicode numbers of the letters that a font file has; none if it has no outlines.

    A file of several fonts gives those of its first, which is the one that Pillow opens.
    """
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except RuntimeError:  # A kind of font that is not scalable, or a damaged file.
        return frozenset()
