"""Labels of SBD (Hariharan et al. 2011): Matlab files with a structure GTcls. No TensorFlow here.

Only the way to GTcls.Segmentation is read, and the rest is passed over by its size. `scipy.io`
would read all of it, and on a damaged file may end the process or fill the memory.

A Matlab 5 file is a header and elements. An element is its kind, its size in bytes and its content.
That of an array is elements again: flags, dimensions, name, and values; in a structure, the length
of a field's name, the names, and an array for each field.
"""

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tf_advseg.data.prepare.label_files import MAX_PIXELS
from tf_advseg.errors import InputError

_STRUCTURE, _FIELD = b"GTcls", b"Segmentation"
_MAX_UNPACKED = 2 * MAX_PIXELS  # Bytes of one element; a true file has under one million.
_HEADER = 128  # Bytes before the first element.
_LITTLE_ENDIAN = b"\x00\x01IM"  # Its last four, with the version.
_TAG = struct.Struct("<2I")  # Kind and size.
_ALIGNMENT = 8  # Bytes; elements in an array begin at multiples of it.
_INT8, _UINT8, _INT32, _UINT32, _ARRAY, _PACKED = 1, 2, 5, 6, 14, 15  # Kinds of elements.
_STRUCTURE_CLASS, _UINT8_CLASS = 2, 9  # Kinds of arrays, the lowest byte of the flags.
_COMPLEX = 0x800  # One of the flags.


class _DamagedError(Exception):
    """The bytes are no elements, or not those that are due."""


def read_mat(content: bytes, name: str) -> np.ndarray:
    """Returns the values of GTcls.Segmentation of a Matlab file, uint8 [H, W].

    Args:
      content: of the file.
      name: of the file, for errors.

    Raises:
      InputError: the file is damaged, or has no such field of this type and form.
    """
    if content[_HEADER - len(_LITTLE_ENDIAN) : _HEADER] != _LITTLE_ENDIAN:
        raise InputError(f"{name} is no Matlab 5 file")
    try:
        return _values(_field(memoryview(content)[_HEADER:]))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except (_DamagedError, struct.error, zlib.error):
        raise InputError(f"{name} is damaged or cut off") from None


def _field(content: memoryview) -> memoryview:
    """Returns the array GTcls.Segmentation."""
    for variable in _variables(content):
        flags, dimensions, name, rest = _array(variable)
        if name == _STRUCTURE and flags & 0xFF == _STRUCTURE_CLASS and math.prod(dimensions) == 1:
            length = int.from_bytes(_next(rest, _INT32), "little")
            names = _next(rest, _INT8).tobytes()
            if not length or len(names) % length:
                raise _DamagedError
            for start in range(0, len(names), length):
                array = _next(rest, _ARRAY)
                if names[start : start + length].split(b"\0")[0] == _FIELD:
                    return array
    raise InputError(f"it has no {_STRUCTURE.decode()}.{_FIELD.decode()}")


def _values(array: memoryview) -> np.ndarray:
    """Returns the values of an array, which must be uint8 [H, W]."""
    flags, dimensions, _, rest = _array(array)
    what = f"{_STRUCTURE.decode()}.{_FIELD.decode()}"
    if flags & 0xFF != _UINT8_CLASS or flags & _COMPLEX or len(dimensions) != 2:
        raise InputError(
            f"{what} is of Matlab's class {flags & 0xFF} with dimensions {dimensions}; "
            f"allowed: class {_UINT8_CLASS} (uint8) with two dimensions"
        )
    if not 0 < math.prod(dimensions) <= MAX_PIXELS or min(dimensions) < 0:
        raise InputError(f"{what} has dimensions {dimensions}; allowed: 1 to {MAX_PIXELS} values")
    values = np.frombuffer(_next(rest, _UINT8), np.uint8)
    if values.size != math.prod(dimensions):
        raise _DamagedError
    return values.reshape(dimensions, order="F")


def _variables(content: memoryview) -> Iterator[memoryview]:
    """Yields the arrays of a file, unpacked."""
    for kind, element in _elements(content, alignment=1):
        if kind == _PACKED:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(element, _MAX_UNPACKED)
            if unpacker.unconsumed_tail:
                raise InputError(f"it unpacks to more than the {_MAX_UNPACKED} bytes allowed")
            if not unpacker.eof:
                raise _DamagedError
            yield _next(_elements(memoryview(unpacked)), _ARRAY)
        elif kind == _ARRAY:
            yield element


def _array(
    content: memoryview,
) -> tuple[int, tuple[int, ...], bytes, Iterator[tuple[int, memoryview]]]:
    """Returns an array's flags, dimensions, name, and the elements after these."""
    elements = _elements(content)
    flags, _ = _TAG.unpack(_next(elements, _UINT32))
    sizes = _next(elements, _INT32)
    dimensions = struct.unpack(f"<{len(sizes) // 4}i", sizes)
    return flags, dimensions, _next(elements, _INT8).tobytes(), elements


def _next(elements: Iterator[tuple[int, memoryview]], due: int) -> memoryview:
    """Returns the content of the next element, which must be of the kind that is due."""
    kind, content = next(elements, (None, memoryview(b"")))
    if kind != due:
        raise _DamagedError
    return content


def _elements(content: memoryview, alignment: int = _ALIGNMENT) -> Iterator[tuple[int, memoryview]]:
    """Yields kind and content of each element."""
    position = 0
    while position < len(content):
        kind, size = _TAG.unpack_from(content, position)
        start = position + _TAG.size
        if kind >> 16:  # Up to four bytes are in the place of the size, which is with the kind.
            kind, size, start = kind & 0xFFFF, kind >> 16, position + _TAG.size // 2
        position = start + size + -(start + size) % alignment
        if start + size > len(content):
            raise _DamagedError
        yield kind, content[start : start + size]
