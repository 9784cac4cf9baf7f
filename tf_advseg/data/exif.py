"""The orientation that a JPEG asks for, read as the graph reads it. No TensorFlow here.

Pillow finds blocks that `decode.exif_orientation` does not, such as those behind stray bytes. An
image that was checked as turned, and is decoded as it lies, would come apart from its label.
"""

PREFIX_BYTES = 1 << 16  # Of a file; where its block is, if it has one.
_APP1, _START_OF_SCAN = 0xE1, 0xDA
_HEADER = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_BYTE_ORDERS = {b"MM\0*": "big", b"II*\0": "little"}
_ENTRY = 12  # Bytes of a directory's entry; its value is behind the first 8.
_PADDING = 16  # Zeros that are read behind the end.


def orientation(prefix: bytes) -> int:
    """Returns the orientation, 1-8; 1 (upright) where there is no block, or it says nothing so.

    Args:
      prefix: the first PREFIX_BYTES of a file.
    """
    tiff = _position(prefix)
    found = _orientation_at(prefix + bytes(_PADDING), tiff) if tiff else 1
    return found if 1 <= found <= 8 else 1


def _position(content: bytes) -> int:
    """Returns where the TIFF part of the EXIF block starts, or 0."""
    position = 2 if content.startswith(b"\xff\xd8") else len(content)
    while position + 4 < len(content):
        marker, kind = content[position : position + 2]
        start = position + 4
        if kind == _APP1 and content[start : start + len(_HEADER)] == _HEADER:
            return start + len(_HEADER)
        if marker != 0xFF or kind == _START_OF_SCAN:
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

    last = len(content) - _PADDING
    # Signed, as the graph's numbers are: an offset of 2 GB and more leads nowhere.
    directory = max(tiff, min(tiff + number(tiff + 4, 4, signed=True), last))
    count = min(number(directory, 2), (last - directory) // _ENTRY)
    for index in range(count):
        entry = directory + 2 + _ENTRY * index
        if number(entry, 2) == _ORIENTATION_TAG:
            return number(entry + 8, 2)
    return 1
