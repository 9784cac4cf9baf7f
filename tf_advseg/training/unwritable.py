"""Files that TensorFlow cannot write, told in one line."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from tf_advseg.errors import InputError, first_line

#: What is raised where a file system takes no more, or never did.
_UNWRITABLE = (
    OSError,
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,  # Of a limit on the size of files.
    tf.errors.UnknownError,
)
#: The reason in TensorFlow's message, which begins with its own names.
_REASON = re.compile(r"; ([^;\n]+?)(?: \[Op:|$)", re.MULTILINE)


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Names what cannot be written, and says why.

    Raises:
      InputError: instead of TensorFlow's error, or the system's.
    """
    try:
        yield
    except _UNWRITABLE as error:
        found = _REASON.search(str(error))
        reason = found[1] if found else first_line(error)
        raise InputError(
            f"cannot write {what}: {reason}; when it can be, go on from the last checkpoint with "
            "--resume"
        ) from None
