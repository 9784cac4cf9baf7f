"""The bytes of a JPEG that are looked for. No TensorFlow here.

Some are looked for twice, in the graph (`decode`) and before it (`exif`, `scans`), and both must
find the same. Names and values are those of ITU T.81 and of Exif 2.3.
"""

START, END, START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
#: Every marker begins with the first; the others are what may follow it. APP1 is EXIF's, and XMP's.
MARKER, SCAN = START_OF_SCAN
APP1 = 0xE1

#: Of a file; where its EXIF block is, if it has one: its first or second segment, at most 64 KiB
#: long.
PREFIX_BYTES = 1 << 16
EXIF_HEADER = b"Exif\0\0"
#: How the TIFF part of the block begins, by the order of its bytes.
BIG_ENDIAN, LITTLE_ENDIAN = b"MM\0*", b"II*\0"
#: Bytes of an entry in its directory: tag, type and count in the first 8, then the value.
ENTRY_BYTES, VALUE_AT = 12, 8
ORIENTATION_TAG = 0x0112
#: Zeros that are read behind the end, so that a block that is cut off can be read past it.
PADDING = 16
