"""Scans of a JPEG, of which a small file can have so many that decoding takes hours."""

from pathlib import Path

from tf_advseg.data import jpeg
from tf_advseg.data.faults import FileFault

#: Of a JPEG. Usual ones have ten. A scan may be of 20 bytes and goes through all pixels. A video
#: behind the picture, as phones write it, may hold a hundred that are none.
MAX_SCANS = 500


def check_scans(path: Path) -> None:
    """Checks that an image file is no JPEG of more than MAX_SCANS.

    Raises:
      FileFault: it is one.
    """
    content = path.read_bytes()
    scans = content.count(jpeg.START_OF_SCAN) if content.startswith(jpeg.START) else 0
    if scans > MAX_SCANS:
        message = f"{path} is a JPEG of {scans} scans; allowed: {MAX_SCANS}"
        raise FileFault("too many scans", message)
