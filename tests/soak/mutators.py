"""Ways to damage a file. Each is a function (content, other, random) -> content.

`other` is another original of the same reader, for headers and parts that do not belong. A mutator
that knows a format changes a content of another format in a plain way.
"""

import io
import json
import random
import re
import struct
import zipfile
import zlib

Content = bytes

_PNG_START = b"\x89PNG\r\n\x1a\n"
_HEADER = 64  # Bytes; where most formats say what they are.
_MOST_EDITS = 8
#: Numbers at the edges of what fields of files can hold.
_EXTREMES = (0, 1, 127, 128, 255, 2**15 - 1, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_DEEP = 100_000
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_WORDS = (b"-1", b"0", b"1e999", b"nan", b"9" * 30, b"9" * 5000, b"0x10", b"1_0", b"\xd9\xa3")
#: In the place of a value of a JSON document.
_VALUES = (
    *(None, True, False, 0, -1, 1.5, 10**30, 1e308, float("nan"), float("inf"), "", "a\nb\x1b[31m"),
    *("\ud800", "../../etc/passwd", "0", "\0", [], {}, [[]], {"a": None}, [None], ["a"] * 300),
)


def flip_bits(content: Content, other: Content, rng: random.Random) -> Content:
    """Flips single bits."""
    changed = bytearray(content or b"\0")
    for _ in range(rng.randint(1, _MOST_EDITS)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_header_bits(content: Content, other: Content, rng: random.Random) -> Content:
    """Flips single bits at the beginning."""
    return flip_bits(content[:_HEADER], other, rng) + content[_HEADER:]


def truncate(content: Content, other: Content, rng: random.Random) -> Content:
    """Cuts the end off."""
    return content[: rng.randrange(len(content) + 1)]


def zero(content: Content, other: Content, rng: random.Random) -> Content:
    """Makes a part zeros, as a disk that lost a block."""
    start, end = _part(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def scramble(content: Content, other: Content, rng: random.Random) -> Content:
    """Makes a part random bytes."""
    start, end = _part(content, rng)
    return content[:start] + rng.randbytes(end - start) + content[end:]


def delete(content: Content, other: Content, rng: random.Random) -> Content:
    """Takes a part out."""
    start, end = _part(content, rng)
    return content[:start] + content[end:]


def insert(content: Content, other: Content, rng: random.Random) -> Content:
    """Puts random bytes in."""
    start, _ = _part(content, rng)
    return content[:start] + rng.randbytes(rng.randint(1, 200)) + content[start:]


def repeat(content: Content, other: Content, rng: random.Random) -> Content:
    """Repeats a part."""
    start, end = _part(content, rng)
    return content[:end] + content[start:end] * rng.randint(1, 20) + content[end:]


def swap_header(content: Content, other: Content, rng: random.Random) -> Content:
    """Gives it the beginning of another file."""
    length = rng.randint(1, _HEADER)
    return other[:length] + content[length:]


def splice(content: Content, other: Content, rng: random.Random) -> Content:
    """Goes on with another file in the middle."""
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def concatenate(content: Content, other: Content, rng: random.Random) -> Content:
    """Puts another file behind it."""
    return content + other


def extreme_field(content: Content, other: Content, rng: random.Random) -> Content:
    """Writes an extreme number over 1, 2, 4 or 8 bytes."""
    size = rng.choice((1, 2, 4, 8))
    field = (rng.choice(_EXTREMES) % 2 ** (8 * size)).to_bytes(size, rng.choice(("big", "little")))
    start = rng.randrange(max(1, len(content) - size))
    return content[:start] + field + content[start + size :]


def extreme_word(content: Content, other: Content, rng: random.Random) -> Content:
    """Replaces a number that is written out by an extreme one."""
    found = list(_NUMBER.finditer(content))
    if not found:
        return extreme_field(content, other, rng)
    start, end = rng.choice(found).span()
    return content[:start] + rng.choice(_WORDS) + content[end:]


def edit_json(content: Content, other: Content, rng: random.Random) -> Content:
    """Replaces or removes a value at any depth of a JSON document."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return extreme_word(content, other, rng)
    places = list(_places(document))
    if not places:
        return json.dumps(rng.choice(_VALUES)).encode()
    holder, key = rng.choice(places)
    if rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = rng.choice(_VALUES)
    return json.dumps(document).encode()


def nest(content: Content, other: Content, rng: random.Random) -> Content:
    """Opens a hundred thousand brackets."""
    start, _ = _part(content, rng)
    bracket = rng.choice((b"[", b'{"a":', b"("))
    return content[:start] + bracket * _DEEP + content[start:]


def edit_png(content: Content, other: Content, rng: random.Random) -> Content:
    """Damages one chunk of a PNG and mends its checksum, so that it is read."""
    chunks = _png_chunks(content)
    if not chunks:
        return flip_bits(content, other, rng)
    index = rng.randrange(len(chunks))
    kind, payload = chunks[index]
    way = rng.choice((flip_bits, truncate, zero, extreme_field, repeat, delete))
    chunks[index] = (kind, way(payload, payload, rng))
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), chunks[index])
    return _PNG_START + b"".join(map(_png_chunk, chunks))


def edit_pixels(content: Content, other: Content, rng: random.Random) -> Content:
    """Damages what a PNG's pixels are unpacked to, and packs it again."""
    chunks = _png_chunks(content)
    packed = b"".join(payload for kind, payload in chunks if kind == b"IDAT")
    try:
        raw = zlib.decompress(packed)
    except zlib.error:  # None, or damaged already.
        return flip_bits(content, other, rng)
    raw = rng.choice((flip_bits, truncate, zero, repeat, delete))(raw, b"", rng)
    rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    rest.insert(-1, (b"IDAT", zlib.compress(raw)))
    return _PNG_START + b"".join(map(_png_chunk, rest))


def edit_zip(content: Content, other: Content, rng: random.Random) -> Content:
    """Damages one member of a zip archive, and writes the archive anew."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:  # None, or damaged already: that can raise errors of many types.
        members = {}
    if not members:
        return extreme_field(content, other, rng)
    name = rng.choice(list(members))
    way = rng.choice((flip_bits, truncate, zero, extreme_field, insert, repeat, delete))
    members[name] = way(members[name], b"", rng)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for member, payload in members.items():
            archive.writestr(member, payload)
    return written.getvalue()


#: To add one, write it and add it here.
MUTATORS = (
    flip_bits,
    flip_header_bits,
    truncate,
    zero,
    scramble,
    delete,
    insert,
    repeat,
    swap_header,
    splice,
    concatenate,
    extreme_field,
    extreme_word,
    edit_json,
    nest,
    edit_png,
    edit_pixels,
    edit_zip,
)


def _part(content: Content, rng: random.Random) -> tuple[int, int]:
    """Returns start and end of a part, short ones being as likely as long ones."""
    start = rng.randrange(len(content) + 1)
    longest = len(content) - start
    return start, start + min(longest, rng.choice((1, 2, 4, 16, 64, longest)))


def _places(value: object):
    """Yields (holder, key) of each value within a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def _png_chunks(content: Content) -> list[tuple[bytes, bytes]]:
    """Returns type and payload of each chunk of a PNG; none of anything else."""
    chunks, at = [], len(_PNG_START)
    while content.startswith(_PNG_START) and at + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        chunks.append((kind, content[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _png_chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, payload = chunk
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)
