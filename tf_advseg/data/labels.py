"""Label files, checked and brought to one form before training. No TensorFlow here.

`tf.io.decode_png` expands a palette into colours, so an indexed label cannot be read in the graph.
Each label is therefore converted once, into a grey PNG of class ids and VOID_LABEL in a cache
outside the data folder. Converting reads every pixel, so that an unknown value is found before
step 1; the classes that occur are noted in the PNG, so that a later run need not read it again.
"""

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from tf_advseg.data import VOID_LABEL
from tf_advseg.data.catalog import Dataset
from tf_advseg.data.classes import Classes
from tf_advseg.data.images import UNREADABLE, image_size, in_threads
from tf_advseg.errors import InputError

CACHE_VARIABLE = "TF_ADVSEG_CACHE"
_CLASSES_KEY = "classes"
_FORM = "1"  # Raise it when the form of a cached label changes.
_GREY_MODES = ("P", "L", "1", "I;16", "I")


def prepare_labels(dataset: Dataset, ids: Sequence[str]) -> list[Path]:
    """Checks the images and labels of `ids` and returns the cached label of each.

    Returns:
      paths of grey PNGs, uint8 [H, W]: class ids, and VOID_LABEL where there is none.

    Raises:
      InputError: a missing or unreadable file, a label of another size than its image, or a label
        value that is no class.
    """
    cache = _cache_folder()
    paths = [(dataset.image_path(i), dataset.label_path(i)) for i in ids]
    for image_id, (_, label) in zip(ids, paths, strict=True):
        if not label.is_file():
            raise InputError(f"no label {label} for the listed id {image_id!r}")
    return in_threads(
        lambda pair: _prepare_label(*pair, dataset.classes, cache), paths, "checking labels"
    )


def classes_in(cached_label: Path) -> set[int]:
    """Returns the class ids that occur in a label written by `prepare_labels`."""
    with Image.open(cached_label) as image:
        # `info`, and not `text`, which would decode the pixels to look for more of it.
        words = image.info[_CLASSES_KEY].split()
    return {int(word) for word in words}


def _prepare_label(image: Path, label: Path, classes: Classes, cache: Path) -> Path:
    status = label.stat()
    key = (
        _FORM,
        str(label.resolve()),
        status.st_mtime_ns,
        status.st_size,
        len(classes),
        classes.void_value,
    )
    cached = cache / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.png"
    label_size = _cached_size(cached)
    if label_size is None:
        _write(cached, _read_label(label, classes))
        label_size = _cached_size(cached)
    if (shown := image_size(image)) != label_size:
        raise InputError(
            f"{label} is {_shape(label_size)}, but its image {image} is {_shape(shown)}"
        )
    return cached


def _cached_size(path: Path) -> tuple[int, int] | None:
    """Returns height and width of a cached label; None if there is none, or a damaged one."""
    try:
        with Image.open(path) as file:
            return (file.height, file.width) if _CLASSES_KEY in file.info else None
    except UNREADABLE:
        return None


def _shape(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _read_label(path: Path, classes: Classes) -> np.ndarray:
    """Returns uint8 [H, W]: class ids and VOID_LABEL."""
    try:
        # Some of Pillow's other formats are programs, for which it calls an interpreter.
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode not in _GREY_MODES:
                raise InputError(f"{path} has mode {image.mode}; allowed: an indexed or grey PNG")
            values = np.asarray(image).astype(np.int64) // _grey_step(path)
    except InputError:
        raise
    except UNREADABLE:
        raise InputError(f"{path} is no PNG, or is cut off") from None
    void = values == classes.void_value
    if (wrong := values[~void & (values >= len(classes))]).size:
        raise InputError(
            f"{path} has the value {wrong[0]}; allowed: 0 to {len(classes) - 1}, "
            f"and {classes.void_value} for void"
        )
    return np.where(void, VOID_LABEL, values).astype(np.uint8)


def _grey_step(path: Path) -> int:
    """Returns what Pillow multiplies the values of a grey PNG of 2 or 4 bits by; else 1."""
    with path.open("rb") as file:
        bit_depth, color_type = file.read(26)[24:]
    return 255 // (2**bit_depth - 1) if color_type == 0 and bit_depth in (2, 4) else 1


def _write(path: Path, label: np.ndarray) -> None:
    notes = PngImagePlugin.PngInfo()
    present = set(np.unique(label).tolist()) - {VOID_LABEL}
    notes.add_text(_CLASSES_KEY, " ".join(map(str, sorted(present))))
    # Several machines may share the cache, and in containers all their process ids may be 1. Not
    # `tempfile`, whose files nobody else may read.
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        Image.fromarray(label).save(temporary, "PNG", compress_level=1, pnginfo=notes)
        temporary.replace(path)
    except OSError as error:
        raise _cache_error(path.parent, error) from None


def _cache_folder() -> Path:
    """Returns the folder of cached labels, made if it is missing."""
    base = os.environ.get(CACHE_VARIABLE) or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "tf_advseg"
    )
    folder = Path(base) / "labels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cache_error(folder, error) from None
    return folder


def _cache_error(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write to the cache folder {folder}: {error.strerror}; "
        f"set {CACHE_VARIABLE} to a folder that can be written"
    )
