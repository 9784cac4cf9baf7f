"""File bytes to image and label tensors, in the graph.

Training, evaluation and the exported model decode with these functions, so that they cannot
disagree. All of it is plain TensorFlow operations: no Python runs in the input pipeline.
"""

import tensorflow as tf

from tf_advseg.data import jpeg
from tf_advseg.data.scans import MAX_SCANS

_EXIF_HEADER = tuple(jpeg.EXIF_HEADER)
_ESCAPED = "".join(f"\\x{byte:02x}" for byte in _EXIF_HEADER)
_MAY_HAVE_EXIF = rf"\C*{_ESCAPED}\C*"  # \C is any byte.


def decode_image(data: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG of any colour type, as a viewer shows it (EXIF rotation applied).

    Args:
      data: string [], the file's bytes.

    Returns:
      uint8 [H, W, 3], RGB. A JPEG equals Pillow's decoding to the bit; 16-bit PNGs keep their high
      byte; transparency is dropped.

    Raises:
      tf.errors.InvalidArgumentError: the bytes are no such image, are cut off, or have more than
        `scans.MAX_SCANS` scans.
    """
    scans = count_scans(data)
    message = tf.strings.join(
        ["a JPEG of ", tf.strings.as_string(scans), f" scans; allowed: {MAX_SCANS}"]
    )
    with tf.control_dependencies([tf.debugging.Assert(scans <= MAX_SCANS, [message])]):
        data = tf.identity(data)
    # One kernel reads both formats, whichever of its names it is called by.
    image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    return orient(image, exif_orientation(data))


def count_scans(data: tf.Tensor) -> tf.Tensor:
    """Counts the scans of a JPEG, and what looks like one in what comes beside them.

    Args:
      data: string [], the file's bytes.

    Returns:
      int32 []; 0 if it is no JPEG.
    """

    def count() -> tf.Tensor:
        content = tf.io.decode_raw(data, tf.uint8)
        marked = (content[:-1] == jpeg.MARKER) & (content[1:] == jpeg.SCAN)
        return tf.math.count_nonzero(marked, dtype=tf.int32)

    return tf.cond(tf.strings.substr(data, 0, 2) == jpeg.START, count, lambda: tf.constant(0))


def decode_label(data: tf.Tensor) -> tf.Tensor:
    """Decodes a grey PNG of class ids, as `labels.prepare_labels` writes it.

    Args:
      data: string [], the file's bytes. An indexed PNG would give grey values, not indices.

    Returns:
      uint8 [H, W].
    """
    return tf.io.decode_png(data, channels=1)[..., 0]


def orient(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image as its EXIF orientation, 1-8, asks.

    Args:
      image: any type, [H, W, C].
      orientation: int32 []; 1 is upright.

    Returns:
      the image, [H, W, C] or [W, H, C].
    """

    def turn() -> tf.Tensor:
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        mirror_rows = tf.reduce_any(tf.equal(orientation, [3, 4, 7, 8]))
        mirror_columns = tf.reduce_any(tf.equal(orientation, [2, 3, 6, 7]))
        turned = tf.cond(mirror_rows, lambda: turned[::-1], lambda: turned)
        return tf.cond(mirror_columns, lambda: turned[:, ::-1], lambda: turned)

    upright = tf.equal(orientation, 1)
    result = tf.cond(upright, lambda: image, turn)
    return tf.ensure_shape(result, [None, None, image.shape[-1]])


def exif_orientation(data: tf.Tensor) -> tf.Tensor:
    """Reads the orientation that a JPEG's EXIF block asks for.

    Args:
      data: string [], the file's bytes.

    Returns:
      int32 [], 1-8; 1 (upright) where there is no such block or it says nothing sensible.
    """
    prefix = tf.strings.substr(data, 0, jpeg.PREFIX_BYTES)

    def look() -> tf.Tensor:
        found = tf.io.decode_raw(prefix, tf.uint8)
        content = tf.pad(tf.cast(found, tf.int32), [[0, jpeg.PADDING]])
        exif = _exif_position(content, tf.size(found))
        return tf.cond(exif > 0, lambda: _orientation_at(content, exif), lambda: tf.constant(1))

    # Most images have no such block, and going through their segments takes as long as decoding.
    may_have_exif = tf.strings.regex_full_match(prefix, _MAY_HAVE_EXIF)
    orientation = tf.cond(may_have_exif, look, lambda: tf.constant(1))
    return tf.where((orientation >= 1) & (orientation <= 8), orientation, 1)


def _exif_position(content: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns where the TIFF part of the EXIF block starts in a JPEG's bytes, or 0."""
    is_jpeg = tf.reduce_all(tf.equal(content[:2], tuple(jpeg.START)))

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        header = content[position + 4 : position + 4 + len(_EXIF_HEADER)]
        return (content[position + 1] == jpeg.APP1) & tf.reduce_all(tf.equal(header, _EXIF_HEADER))

    def is_other_segment(position: tf.Tensor) -> tf.Tensor:
        inside = position + 4 < size
        position = tf.where(inside, position, 0)
        a_segment = (content[position] == jpeg.MARKER) & (content[position + 1] != jpeg.SCAN)
        return inside & a_segment & ~is_exif(position)

    def next_segment(position: tf.Tensor) -> tf.Tensor:
        return position + 2 + _number(content, position + 2, 2, big_endian=True)

    first = tf.where(is_jpeg, 2, size)
    position = tf.while_loop(is_other_segment, lambda p: (next_segment(p),), (first,))[0]
    inside = position + 4 < size
    position = tf.where(inside, position, 0)
    return tf.where(inside & is_exif(position), position + 4 + len(_EXIF_HEADER), 0)


def _orientation_at(content: tf.Tensor, tiff: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the first directory of a TIFF header, or 1."""
    header = content[tiff : tiff + 4]
    big_endian = tf.reduce_all(tf.equal(header, tuple(jpeg.BIG_ENDIAN)))
    little_endian = tf.reduce_all(tf.equal(header, tuple(jpeg.LITTLE_ENDIAN)))
    last = tf.size(content) - jpeg.PADDING
    directory = tf.clip_by_value(tiff + _number(content, tiff + 4, 4, big_endian), tiff, last)
    room = (last - directory) // jpeg.ENTRY_BYTES
    count = tf.minimum(_number(content, directory, 2, big_endian), room)
    entries = directory + 2 + jpeg.ENTRY_BYTES * tf.range(count)
    tags = _number(content, entries, 2, big_endian)
    values = _number(content, entries + jpeg.VALUE_AT, 2, big_endian)
    found = tf.boolean_mask(values, tf.equal(tags, jpeg.ORIENTATION_TAG))
    orientation = tf.concat([found, [1]], axis=0)[0]
    return tf.where(big_endian | little_endian, orientation, 1)


def _number(
    content: tf.Tensor, position: tf.Tensor, size: int, big_endian: tf.Tensor | bool
) -> tf.Tensor:
    """Returns the unsigned numbers of `size` bytes at `position` (of any shape)."""
    digits = tf.gather(content, position[..., tf.newaxis] + tf.range(size))
    digits = tf.where(big_endian, digits, digits[..., ::-1])
    return tf.reduce_sum(tf.bitwise.left_shift(digits, tf.range(8 * (size - 1), -1, -8)), axis=-1)
