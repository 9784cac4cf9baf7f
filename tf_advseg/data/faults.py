"""What is wrong with one file of a data set. No TensorFlow here."""

from tf_advseg.errors import InputError


class FileFault(InputError):
    """A file that cannot be used. Training ends with the first; `prepare check` lists all.

    Args:
      kind: what is wrong, in the words under which files with the same fault are counted.
      message: one line that names the file, what is wrong and what is allowed.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind
