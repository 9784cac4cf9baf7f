"""A file of which little is read at a time."""

import io
import os
import zipfile

_MAX_READ = 64 * 2**20  # Bytes of a zip file's list of members; its objects take ten times that.


class BoundedReader(io.BufferedReader):
    """A file for `zipfile`, which reads a list of members all at once, however long it is.

    Args:
      raw: the file, an `io.FileIO`.

    Raises (by `read`):
      zipfile.BadZipFile: more than 64 MB are asked for.
    """

    def read(self, size: int | None = -1) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        size = left if size is None or size < 0 else min(size, left)
        if size > _MAX_READ:
            raise zipfile.BadZipFile(f"a list of members of {size} bytes")
        return super().read(size)
