"""Image files, checked before training. No TensorFlow here."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image

from tf_advseg.data import exif
from tf_advseg.errors import InputError
from tf_advseg.progress import track

Item, Result = TypeVar("Item"), TypeVar("Result")

#: What Pillow raises for a file that is no image, is damaged, or would fill the memory.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

#: Pillow's name of a format that the graph decodes -> how a whole file of it usually ends.
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def check_images(paths: Iterable[Path]) -> list[tuple[int, int]]:
    """Reads the headers and the last bytes of images, in parallel.

    Returns:
      (height, width) of each, in pixels, as shown: after its EXIF rotation.

    Raises:
      InputError: a file is no JPEG or PNG, or ends before its picture does.
    """
    return in_threads(image_size, list(paths), "checking images")


def image_size(path: Path) -> tuple[int, int]:
    """Returns height and width of a JPEG or PNG, as `check_images` does for many."""
    try:
        with Image.open(path) as image:
            if image.format not in _ENDS:
                raise InputError(f"{path} is a {image.format} file; allowed: JPEG, PNG")
            width, height = image.size
            rotated = _is_rotated(image)
            if not _ends_with(path, _ENDS[image.format]):
                image.load()  # Some whole files end otherwise; only decoding can tell.
    except InputError:
        raise
    except UNREADABLE:
        raise InputError(f"{path} is no image, or is cut off") from None
    return (width, height) if rotated else (height, width)


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> list[Result]:
    """Maps in threads (Pillow decodes outside the interpreter's lock), with a bar if it lasts."""
    with ThreadPoolExecutor() as pool:
        return list(track(pool.map(function, items), title, len(items)))


def _is_rotated(image: Image.Image) -> bool:
    """Tells whether `decode.decode_image` swaps height and width, by a JPEG's EXIF block alone.

    `image.getexif()` would also heed XMP and PNG's EXIF, and read a whole PNG to find it.
    """
    if image.format == "PNG":
        return False
    with open(image.filename, "rb") as file:
        return exif.orientation(file.read(exif.PREFIX_BYTES)) in (5, 6, 7, 8)


def _ends_with(path: Path, end: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - len(end)))
        return file.read() == end
