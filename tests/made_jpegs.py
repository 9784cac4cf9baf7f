"""JPEG files as no program writes them."""

import struct

_BLOCK = 8  # Pixels on a side.
_LONGEST_RUN = 2**15 - 1  # Of blocks without a coefficient.


def jpeg_of_scans(scans: int, height: int = 64, width: int = 64) -> bytes:
    """Returns a progressive JPEG, an even grey, with so many scans, nearly all of which are empty.

    The first has the mean of each block. Each other one says by a few bits that there is nothing
    more, and makes a decoder go through all blocks.
    """
    blocks = -(-height // _BLOCK) * -(-width // _BLOCK)
    runs = -(-blocks // _LONGEST_RUN)
    # The code 0, for a run of 2^14 blocks and as many more as the 14 bits after it say.
    empty = _bits(("0" + "1" * 14) * runs)
    parts = [
        b"\xff\xd8",
        _segment(0xDB, b"\0" + b"\1" * 64),
        _segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
        _codes(0x00, 0x00),
        _codes(0x10, 0xE0),
        _scan(0, 0, _bits("0" * blocks)),
        *[_scan(1, 63, empty)] * (scans - 1),
        b"\xff\xd9",
    ]
    return b"".join(parts)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _codes(table: int, symbol: int) -> bytes:
    """A table of one Huffman code, of one bit."""
    return _segment(0xC4, bytes([table, 1, *[0] * 15, symbol]))


def _scan(first: int, last: int, data: bytes) -> bytes:
    return _segment(0xDA, bytes([1, 1, 0, first, last, 0])) + data


def _bits(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
