"""Files of a request: what is decoded, and what is refused with which words."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_advseg.serving.decoding import decode_batch

LIMIT = 5000


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def decode(image_bytes):
    return decode_batch(image_bytes, LIMIT)


def picture(height, width, mode="RGB", seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 4))
    pixels = coarse.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(height, width):
    """The start of a PNG that claims a size, and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def turned(image, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1"])
def test_png_of_any_colors_is_decoded_as_pillow_does(mode):
    image = picture(30, 44, mode)
    expected = np.asarray(image.convert("RGBA").convert("RGB"))
    decoded = decode(tf.constant([encoded(image)])).numpy()
    np.testing.assert_array_equal(decoded, expected[np.newaxis])


def test_one_pixel_is_enough():
    image = Image.new("RGB", (1, 1), (7, 8, 9))
    assert decode(tf.constant([encoded(image)])).numpy().tolist() == [[[[7, 8, 9]]]]


def test_formats_mix_where_what_is_shown_has_one_size():
    upright, lying = picture(24, 40), picture(40, 24, seed=1)
    files = [encoded(upright), turned(lying, 6), turned(upright, 3), encoded(upright, "JPEG")]
    decoded = decode(tf.constant(files)).numpy()
    assert decoded.shape == (4, 24, 40, 3)
    lying_pixels = np.asarray(Image.open(io.BytesIO(files[1])).convert("RGB"))
    np.testing.assert_array_equal(decoded[1], lying_pixels.transpose(1, 0, 2)[:, ::-1])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no image is given; allowed: one or more"),
        ([b""], "image 0 is empty; allowed: JPEG or PNG"),
        ([encoded(picture(9, 9)), b"a text"], "image 1 is neither a JPEG nor a PNG"),
        ([encoded(picture(9, 9), "GIF")], "image 0 is neither a JPEG nor a PNG"),
        ([encoded(picture(9, 9), "BMP")], "image 0 is neither a JPEG nor a PNG"),
        ([b"\x89PNG\r\n\x1a\n"], "image 0 is neither a JPEG nor a PNG"),
        (
            [encoded(picture(9, 8)), turned(picture(8, 9), 6), encoded(picture(9, 9))],
            r"must have one size, these have \(height x width\) 9x8, 9x8, 9x9",
        ),
        ([encoded(picture(100, 50)), encoded(picture(51, 100))], r"image 1 .* 51x100 .*5000"),
        ([encoded(picture(51, 100), "JPEG")], r"image 0 .* 51x100 pixels; allowed: 5000"),
        (
            [encoded(picture(50, 40))] * 3,
            r"3 images .* 50x40 pixels are too many .*; allowed: 5000 pixels together",
        ),
        ([turned(picture(50, 51), 6)] * 2, r"2 images .* 51x50 pixels are too many"),
        ([encoded(Image.new("L", (1, 1)))] * 5001, "5001 images .* 1x1 pixels are too many"),
        (
            [encoded(picture(9, 9)) + bytes(2**20 + 999)],
            r"image 0 has 1049\d+ bytes, .* 9x9 pixels",
        ),
        # A size that neither 32 bits nor any memory hold.
        ([png_header(2**31 - 1, 2**31 - 1)], r"image 0 .* 2147483647x2147483647 pixels"),
        ([png_header(2**32 - 1, 2**32 - 1)], "4294967295x4294967295 pixels; allowed: 5000"),
        ([png_header(1, 2**32 - 1)], "1x4294967295 pixels; allowed: 5000"),
    ],
)
def test_refusal_says_what_is_wrong(files, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(tf.constant(files, tf.string))


def test_largest_allowed_image_is_decoded():
    assert decode(tf.constant([encoded(picture(50, 100))])).shape == (1, 50, 100, 3)


def test_as_many_images_as_have_the_allowed_pixels_are_decoded():
    files = [encoded(picture(50, 20, seed=seed)) for seed in range(5)]
    decoded = decode(tf.constant(files)).numpy()
    for file, pixels in zip(files, decoded, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(file))))


def test_notes_and_a_profile_beside_the_pixels_are_allowed():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (50, 100, 4), np.uint8))
    data = encoded(noise, icc_profile=rng.bytes(700_000))
    assert len(data) > 700_000
    assert decode(tf.constant([data])).shape == (1, 50, 100, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_file_that_is_cut_off_is_refused(kind, share):
    data = encoded(picture(64, 64), kind)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant([data[: int(len(data) * share)]]))
