"""The orientation that a JPEG asks for, read as the graph reads it. No TensorFlow here.

Pillow finds blocks that `decode.exif_orientation` does not, such as those behind stray bytes. An
image that was checked as turned, and is decoded as it lies, would come apart from its label.
"""

from tf_advseg.data import jpeg

_BYTE_ORDERS = {jpeg.BIG_ENDIAN: "big", jpeg.LITTLE_ENDIAN: "little"}


def orientation(prefix: bytes) -> int:
    """Returns the orientation, 1-8; 1 (upright) where there is no block, or it says nothing so.

    Args:
      prefix: the first `jpeg.PREFIX_BYTES` of a file.
    """
    tiff = _position(prefix)
    found = _orientation_at(prefix + bytes(jpeg.PADDING), tiff) if tiff else 1
    return found if 1 <= found <= 8 else 1


def _position(content: bytes) -> int:
    """Returns where the TIFF part of the EXIF block starts, or 0."""
    position = 2 if content.startswith(jpeg.START) else len(content)
    while position + 4 < len(content):
        marker, kind = content[position : position + 2]
        start = position + 4
        if kind == jpeg.APP1 and content.startswith(jpeg.EXIF_HEADER, start):
            return start + len(jpeg.EXIF_HEADER)
        if marker != jpeg.MARKER or kind == jpeg.SCAN:
            return 0
        position += 2 + int.from_bytes(content[position + 2 : start], "big")
    return 0


def _orientation_at(content: bytes, tiff: int) -> int:
    """Returns the orientation in the first directory of a TIFF header, or 1."""
    order = _BYTE_ORDERS.get(content[tiff : tiff + 4])
    if order is None:
        return 1

    def number(position: int, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(content[position : position + size], order, signed=signed)

    last = len(content) - jpeg.PADDING
    # Signed, as the graph's numbers are: an offset of 2 GB and more leads nowhere.
    directory = max(tiff, min(tiff + number(tiff + 4, 4, signed=True), last))
    count = min(number(directory, 2), (last - directory) // jpeg.ENTRY_BYTES)
    for index in range(count):
        entry = directory + 2 + jpeg.ENTRY_BYTES * index
        if number(entry, 2) == jpeg.ORIENTATION_TAG:
            return number(entry + jpeg.VALUE_AT, 2)
    return 1
