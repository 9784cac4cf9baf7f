"""Image files, checked before training. No TensorFlow here."""

import contextlib
import mmap
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from tf_advseg.data import exif, jpeg
from tf_advseg.data.faults import FileFault
from tf_advseg.data.scans import check_scans
from tf_advseg.errors import first_line
from tf_advseg.progress import track

Item, Result = TypeVar("Item"), TypeVar("Result")

#: What Pillow raises for a file that is no image, is damaged, or would fill the memory.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

#: Pillow's name of a format that the graph decodes -> how a whole file of it usually ends.
_ENDS = {"JPEG": jpeg.END, "MPO": jpeg.END, "PNG": b"\0\0\0\0IEND\xaeB`\x82"}
_FORMATS = {"MPO": "JPEG"}  # A JPEG of several pictures, of which the first is shown.


def check_images(paths: Iterable[Path]) -> list[tuple[int, int]]:
    """Reads the headers and the last bytes of images, in parallel.

    Returns:
      (height, width) of each, in pixels, as shown: after its EXIF rotation.

    Raises:
      FileFault: a file is no JPEG or PNG, claims more pixels than are allowed, or ends before its
        picture does.
    """
    return in_threads(image_size, list(paths), "checking images")


def image_size(path: Path) -> tuple[int, int]:
    """Returns height and width of a JPEG or PNG, as `check_images` does for many."""
    with opened(path) as image:
        width, height = image.size
        rotated = _is_rotated(image)
        if not _ends_with(path, _ENDS[image.format]):
            check_scans(path)
            image.load()  # Some whole files end otherwise; only decoding can tell.
    return (width, height) if rotated else (height, width)


def decode_all(path: Path) -> None:
    """Decodes every pixel of an image, which `check_images` leaves to training.

    Raises:
      FileFault: as `check_images`, or a part of it is damaged.
    """
    check_sums(path)
    with opened(path) as image:
        check_scans(path)
        image.load()
        if not _has(path, _ENDS[image.format]):
            raise FileFault("damaged image", f"{path} is damaged or cut off")


def check_sums(path: Path) -> None:
    """Compares the checksums of a PNG, as the graph's decoder does; Pillow's passes over some.

    Raises:
      FileFault: as `check_images`, or one is wrong.
    """
    with opened(path) as image:
        if image.format == "PNG":
            image.verify()


@contextlib.contextmanager
def opened(path: Path, formats: Collection[str] = ("JPEG", "PNG")) -> Iterator[Image.Image]:
    """Opens an image, whose pixels are read in the block.

    Nothing is decoded of a file that claims more pixels than Pillow takes: 178,956,970.

    Args:
      path: the file.
      formats: allowed ones.

    Raises:
      FileFault: the file is no such image or cannot be read, there or in the block.
    """
    try:
        with Image.open(path) as image:
            if _FORMATS.get(image.format, image.format) not in formats:
                shown = f"{path} is a {image.format} file; allowed: {', '.join(formats)}"
                raise FileFault("file of another format", shown)
            yield image
    except FileFault:
        raise
    except Image.DecompressionBombError as error:
        size = first_line(error).split(", could")[0]  # It goes on to guess at an attack.
        raise FileFault("too many pixels", f"{path} is too large by its header: {size}") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise FileFault("no image", f"{path} is {'empty' if empty else 'no image'}") from None
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise FileFault("unreadable file", f"cannot read {path}: {error.strerror}") from None
        raise FileFault("damaged image", f"{path} is damaged or cut off") from None


def size_problem(
    label: Path, label_size: tuple[int, int], image: Path, shown_size: tuple[int, int]
) -> str:
    """Says in what the sizes (height, width) of a label and its image differ; "" if in nothing."""
    if label_size == shown_size:
        return ""
    return f"{label} is {_shape(label_size)}, but its image {image} is {_shape(shown_size)}"


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> list[Result]:
    """Maps in threads (Pillow decodes outside the interpreter's lock), with a bar if it lasts."""
    with ThreadPoolExecutor() as pool:
        return list(track(pool.map(function, items), title, len(items)))


def _shape(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _is_rotated(image: Image.Image) -> bool:
    """Tells whether `decode.decode_image` swaps height and width, by a JPEG's EXIF block alone.

    `image.getexif()` would also heed XMP and PNG's EXIF, and read a whole PNG to find it.
    """
    if image.format == "PNG":
        return False
    with open(image.filename, "rb") as file:
        return exif.orientation(file.read(jpeg.PREFIX_BYTES)) in (5, 6, 7, 8)


def _has(path: Path, end: bytes) -> bool:
    """Tells whether a file ends with these bytes, or has them before others that a camera adds."""
    if _ends_with(path, end):
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(end) >= 0


def _ends_with(path: Path, end: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - len(end)))
        return file.read() == end
