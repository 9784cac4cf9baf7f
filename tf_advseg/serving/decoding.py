"""Files of a request to one batch of images, with errors that a client can act on.

All of it runs in the exported graph, and a server sends the message of a failed check back to its
client. What can be refused is refused by a file's header, before any pixel is decoded.
"""

import tensorflow as tf

from tf_advseg.data.decode import decode_image, exif_orientation

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
#: What a file may have: its pixels, in four channels of 16 bits, and notes and colour profiles.
#: What is compressed may inflate a thousandfold, and is read in full even where it shows nothing.
_BYTES_PER_PIXEL, _OTHER_BYTES = 8, 2**20
_PNG_WIDTH, _PNG_HEADER_END = 16, 24  # Where a PNG's header has width and height, 4 bytes each.


def decode_batch(image_bytes: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decodes the files of a request.

    Args:
      image_bytes: string [B], JPEG or PNG files that show images of one size.
      max_pixels: that all images of the request may have together, since they are in memory
        together.

    Returns:
      uint8 [B, H, W, 3], RGB, as `data.decode.decode_image` has it.

    Raises:
      tf.errors.InvalidArgumentError: there is no file, one is no such image or is cut off, one is
        too large, they are together, or their sizes differ; the message says which, and what is
        allowed.
    """
    count = tf.size(image_bytes)
    checks = [_require(count > 0, "no image is given; allowed: one or more")]
    with tf.control_dependencies(checks):
        numbers = tf.range(count)
    sizes = tf.map_fn(
        lambda item: _checked_size(*item, max_pixels),
        (numbers, image_bytes),
        fn_output_signature=tf.TensorSpec([2], tf.int64),
    )
    same = tf.reduce_all(sizes == sizes[:1])
    shown = tf.strings.reduce_join(_size_text(sizes), separator=", ")
    message = tf.strings.join(
        ["images of one request must have one size, these have (height x width) ", shown]
    )
    with tf.control_dependencies([_require(same, message)]):
        fits = _require_total(tf.cast(count, tf.int64), sizes[0], max_pixels)
    with tf.control_dependencies([fits]):
        image_bytes = tf.identity(image_bytes)
    # One at a time, so that a batch needs no more memory for decoding than one image.
    image = tf.TensorSpec([None, None, 3], tf.uint8)
    return tf.map_fn(decode_image, image_bytes, fn_output_signature=image)


def _require_total(count: tf.Tensor, size: tf.Tensor, max_pixels: int) -> tf.Operation:
    message = tf.strings.join(
        [
            tf.strings.as_string(count),
            " images of (height x width) ",
            _size_text(size),
            f" pixels are too many for one request; allowed: {max_pixels} pixels together",
        ]
    )
    return _require(count * tf.reduce_prod(size) <= max_pixels, message)


def _checked_size(number: tf.Tensor, data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Returns height and width of an image as it is shown, int64 [2], if it may be decoded."""
    size = _size_in_header(data)
    name = tf.strings.join(["image ", tf.strings.as_string(number)])
    known = tf.reduce_all(size > 0)
    # Not their product: a header may claim sides of 2^32 - 1, which int64 has no product for.
    fits = size[0] <= max_pixels // tf.maximum(size[1], 1)
    checks = [
        _require(
            tf.strings.length(data) > 0, tf.strings.join([name, " is empty; allowed: JPEG or PNG"])
        ),
        _require(known, tf.strings.join([name, " is neither a JPEG nor a PNG; allowed: these"])),
        _require(
            fits,
            tf.strings.join(
                [
                    name,
                    " has (height x width) ",
                    _size_text(size),
                    f" pixels; allowed: {max_pixels}",
                ]
            ),
        ),
    ]
    # Only of a size that is known to be small enough is there a product.
    with tf.control_dependencies(checks):
        pixels = tf.reduce_prod(size)
    length = tf.strings.length(data)
    message = tf.strings.join(
        [
            name,
            " has ",
            tf.strings.as_string(length),
            " bytes, which are too many for (height x width) ",
            _size_text(size),
            f" pixels; allowed: {_BYTES_PER_PIXEL} for each, and {_OTHER_BYTES}",
        ]
    )
    short_enough = tf.cast(length, tf.int64) <= _BYTES_PER_PIXEL * pixels + _OTHER_BYTES
    checks.append(_require(short_enough, message))
    with tf.control_dependencies(checks):
        return tf.identity(size)


def _size_in_header(data: tf.Tensor) -> tf.Tensor:
    """Returns height and width of an image as it is shown, int64 [2]; 0 if it is none of ours."""
    is_jpeg = tf.strings.substr(data, 0, len(_JPEG)) == _JPEG
    is_png = tf.strings.substr(data, 0, len(_PNG)) == _PNG
    long_enough = tf.strings.length(data) >= _PNG_HEADER_END
    neither = tf.zeros([2], tf.int64)
    return tf.cond(
        is_jpeg,
        lambda: _jpeg_size(data),
        lambda: tf.cond(is_png & long_enough, lambda: _png_size(data), lambda: neither),
    )


def _jpeg_size(data: tf.Tensor) -> tf.Tensor:
    size = tf.io.extract_jpeg_shape(data, output_type=tf.int32)[:2]
    turned = exif_orientation(data) >= 5
    return tf.cast(tf.where(turned, size[::-1], size), tf.int64)


def _png_size(data: tf.Tensor) -> tf.Tensor:
    header = tf.strings.substr(data, _PNG_WIDTH, _PNG_HEADER_END - _PNG_WIDTH)
    digits = tf.reshape(tf.cast(tf.io.decode_raw(header, tf.uint8), tf.int64), [2, 4])
    width_and_height = tf.reduce_sum(digits * [1 << 24, 1 << 16, 1 << 8, 1], axis=1)
    return width_and_height[::-1]


def _size_text(sizes: tf.Tensor) -> tf.Tensor:
    return tf.strings.reduce_join(tf.strings.as_string(sizes), axis=-1, separator="x")


def _require(condition: tf.Tensor, message: tf.Tensor | str) -> tf.Operation:
    return tf.debugging.Assert(condition, [message])
