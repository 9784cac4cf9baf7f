"""Names the file that a data set could not read; the graph's own error does not."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from tf_advseg.data.decode import decode_image, decode_label
from tf_advseg.data.images import decode_all
from tf_advseg.errors import InputError

_READ_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.FailedPreconditionError,
    tf.errors.UnknownError,  # What a network drive that fails looks like.
)


@contextlib.contextmanager
def naming_unreadable(images: Sequence[Path], labels: Sequence[Path] = ()) -> Iterator[None]:
    """Looks for the file to blame where TensorFlow could not read, or use, some.

    Args:
      images: the files that a data set reads.
      labels: the cached labels of the first of them; none if no label is read.

    Raises:
      InputError: instead of TensorFlow's error, if a file cannot be read, or an image and its label
        differ in size; files may change after they were checked.
    """
    try:
        yield
    except _READ_ERRORS:
        for image, label in itertools.zip_longest(images, labels):
            _require_readable(image, label)
        raise


def _require_readable(image: Path, label: Path | None) -> None:
    try:
        shown = decode_image(tf.io.read_file(str(image)))
    except _READ_ERRORS:
        decode_all(image)  # It knows what is wrong, and says so in the words of `prepare check`.
        raise InputError(f"{image} cannot be read: damaged, or cut off") from None
    if label is None:
        return
    try:
        classes = decode_label(tf.io.read_file(str(label)))
    except _READ_ERRORS:
        raise InputError(
            f"the cached label {label} of {image} cannot be read; delete it if it is there, and "
            "start again: it is then made anew"
        ) from None
    if shown.shape[:2] != classes.shape:
        raise InputError(
            f"{image} is {_shape(shown)}, but its label was {_shape(classes)} as it was checked; "
            "leave the data as they are while a run reads them, and start again"
        )


def _shape(values: tf.Tensor) -> str:
    height, width = values.shape[:2]
    return f"{width}x{height}"
