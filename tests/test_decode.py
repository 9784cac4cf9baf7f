"""Decoding in the graph against Pillow."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.made_jpegs import jpeg_of_scans
from tf_advseg.data.decode import (
    count_scans,
    decode_image,
    decode_label,
    exif_orientation,
)
from tf_advseg.data.scans import MAX_SCANS

ORIENTATION = 0x0112
ORIENTATIONS = tuple(range(1, 9))


def picture(size=(30, 41), seed=0):
    """Smooth colours with some detail, uint8 [H, W, 3], of an odd width."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 3)).astype(np.uint8))
    smooth = np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + rng.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_pillow(data):
    """RGB as Pillow shows it, uint8 [H, W, 3]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def eagerly(function, files):
    return [function(tf.constant(data)).numpy() for data in files]


def in_dataset(function, files):
    dataset = tf.data.Dataset.from_tensor_slices(list(files)).map(function)
    return list(dataset.as_numpy_iterator())


both_ways = pytest.mark.parametrize("apply", [eagerly, in_dataset])


def assert_like_pillow(files, apply):
    for data, found in zip(files, apply(decode_image, files), strict=True):
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, with_pillow(data))


@both_ways
def test_jpeg_equals_pillow_to_the_bit(apply):
    files = [
        encoded(picture(size, seed), "JPEG", quality=quality, subsampling=subsampling)
        for seed, (size, quality, subsampling) in enumerate(
            [
                ((30, 41), 95, 0),
                ((30, 41), 60, 1),
                ((33, 47), 75, 2),
                ((1, 1), 75, 2),
                ((64, 3), 10, 2),
            ]
        )
    ]
    files.append(encoded(picture(), "JPEG", progressive=True))
    assert_like_pillow(files, apply)


@both_ways
def test_other_colour_types_equal_pillow(apply):
    image = Image.fromarray(picture())
    files = [
        encoded(image.convert("L"), "JPEG"),
        encoded(image, "PNG"),
        encoded(image.convert("L"), "PNG"),
        encoded(image.convert("1"), "PNG"),
        encoded(image.quantize(200), "PNG"),
        encoded(image.quantize(13), "PNG", bits=4),
    ]
    assert_like_pillow(files, apply)


@both_ways
def test_transparency_is_dropped(apply):
    image = picture()
    alpha = np.random.default_rng(1).integers(0, 256, image.shape[:2]).astype(np.uint8)
    opaque_grey = np.asarray(Image.fromarray(image).convert("L"))
    files = [
        encoded(np.dstack([image, alpha]), "PNG"),
        encoded(Image.merge("LA", [Image.fromarray(opaque_grey), Image.fromarray(alpha)]), "PNG"),
    ]
    color, grey = apply(decode_image, files)
    np.testing.assert_array_equal(color, image)
    np.testing.assert_array_equal(grey, np.repeat(opaque_grey[..., np.newaxis], 3, axis=2))


@both_ways
def test_16_bit_grey_keeps_its_high_byte(apply):
    values = np.random.default_rng(2).integers(0, 2**16, (5, 7)).astype(np.uint16)
    (found,) = apply(decode_image, [encoded(Image.fromarray(values), "PNG")])
    np.testing.assert_array_equal(found, np.repeat((values >> 8)[..., np.newaxis], 3, axis=2))


@both_ways
def test_cmyk_jpeg_is_like_pillows(apply):
    data = encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95)
    (found,) = apply(decode_image, [data])
    # Both undo CMYK by a formula of their own, which may round otherwise.
    assert np.abs(found.astype(int) - with_pillow(data)).max() <= 2
    assert np.abs(found.astype(int) - picture()).mean() < 10


@both_ways
def test_name_of_the_file_does_not_matter(apply, tmp_path):
    image = picture()
    path = tmp_path / "png.jpg"
    path.write_bytes(encoded(image, "PNG"))
    (found,) = apply(decode_image, [path.read_bytes()])
    np.testing.assert_array_equal(found, image)


def exif_block(orientation, order, entries_before=2):
    """A TIFF header and a directory whose orientation follows some other entries."""
    mark = {">": b"MM", "<": b"II"}[order]
    entries = b"".join(
        struct.pack(order + "HHIHH", 0x0100 + n, 3, 1, 5, 0) for n in range(entries_before)
    )
    entries += struct.pack(order + "HHIHH", ORIENTATION, 3, 1, orientation, 0)
    count = struct.pack(order + "H", entries_before + 1)
    end = struct.pack(order + "I", 0)
    header = mark + struct.pack(order + "HI", 42, 8)
    return b"Exif\0\0" + header + count + entries + end


@both_ways
@pytest.mark.parametrize("order", [">", "<"], ids=["big-endian", "little-endian"])
def test_exif_orientation_is_applied_as_pillow_does(order, apply):
    files = [encoded(picture(), "JPEG", exif=exif_block(o, order)) for o in ORIENTATIONS]
    assert apply(exif_orientation, files) == list(ORIENTATIONS)
    assert_like_pillow(files, apply)


@both_ways
def test_exif_is_found_behind_other_segments_and_a_distant_directory(apply):
    data = encoded(picture(), "JPEG", exif=exif_block(6, ">"), comment=b"c" * 1000)
    app0 = struct.pack(">BBH", 0xFF, 0xE0, 16) + b"JFIF\0\1\1\0\0\1\0\1\0\0"
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + b" " * 500
    app1 = struct.pack(">BBH", 0xFF, 0xE1, 2 + len(xmp)) + xmp
    before = data[:2] + app0 + app1 + data[2:]
    far = bytearray(exif_block(8, "<"))
    far[10:14] = struct.pack("<I", 8 + 700)
    far[14:14] = b"\0" * 700
    distant = encoded(picture(), "JPEG", exif=bytes(far))
    assert apply(exif_orientation, [before, distant]) == [6, 8]
    assert_like_pillow([before, distant], apply)


def garbage():
    whole = exif_block(6, ">")
    little = exif_block(6, "<")
    random = np.random.default_rng(3).integers(0, 256, (20, 80)).astype(np.uint8)
    return {
        "orientation 0": exif_block(0, ">"),
        "orientation 9": exif_block(9, "<"),
        "orientation 65535": exif_block(65535, "<"),
        "header alone": whole[:6],
        "half a TIFF header": whole[:9],
        "no directory": whole[:14],
        "entries cut off": whole[:30],
        "directory far outside": whole.replace(b"\0\0\0\x08", b"\x7f\xff\xff\xff"),
        "directory at a negative offset": whole.replace(b"\0\0\0\x08", b"\xff\xff\xff\xff"),
        "more entries than fit": exif_block(9, ">")[:14] + b"\xff\xff" + b"\0" * 20,
        "no TIFF number": whole.replace(b"MM\0*", b"MM\0+"),
        "no TIFF number, little-endian": little.replace(b"II*\0", b"II+\0"),
        "no byte order": whole.replace(b"MM\0*", b"XX\0*"),
        "no byte order, little-endian": little.replace(b"II*\0", b"XX*\0"),
        **{f"random {n}": b"Exif\0\0" + row.tobytes() for n, row in enumerate(random)},
    }


@both_ways
def test_garbage_in_exif_leaves_the_image_upright(apply):
    files = [encoded(picture(), "JPEG", exif=block) for block in garbage().values()]
    upright = with_pillow(encoded(picture(), "JPEG"))
    for name, found in zip(garbage(), apply(decode_image, files), strict=True):
        np.testing.assert_array_equal(found, upright, err_msg=name)


@both_ways
def test_images_without_exif_are_upright(apply):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    files = [
        encoded(picture(), "JPEG"),
        encoded(picture(), "PNG"),
        # PNG's own EXIF is not heeded: `labels` does not heed it either.
        encoded(picture(), "PNG", exif=exif),
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe1",
    ]
    assert apply(exif_orientation, files) == [1] * len(files)


BROKEN = {
    "truncated JPEG": lambda: encoded(picture(), "JPEG")[:-200],
    "truncated PNG": lambda: encoded(picture(), "PNG")[:-400],
    "text": lambda: b"this is no picture",
    "nothing": lambda: b"",
}


@both_ways
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_image_raises(kind, apply):
    with pytest.raises(tf.errors.InvalidArgumentError):
        apply(decode_image, [BROKEN[kind]()])


@both_ways
def test_label_is_read_as_it_is(apply):
    label = np.random.default_rng(4).integers(0, 256, (9, 5)).astype(np.uint8)
    (found,) = apply(decode_label, [encoded(label, "PNG")])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, label)


def test_static_shape_is_known_in_the_graph():
    dataset = tf.data.Dataset.from_tensors(encoded(picture(), "JPEG"))
    assert dataset.map(decode_image).element_spec.shape.as_list() == [None, None, 3]
    assert dataset.map(decode_label).element_spec.shape.as_list() == [None, None]


def test_jpeg_of_many_scans_is_decoded():
    data = jpeg_of_scans(MAX_SCANS)
    assert int(count_scans(tf.constant(data))) == MAX_SCANS
    image = decode_image(tf.constant(data)).numpy()
    np.testing.assert_array_equal(image, np.full((64, 64, 3), 128, np.uint8))


def test_jpeg_of_more_scans_than_any_true_one_is_refused_before_it_is_decoded():
    # It would take a quarter of an hour.
    data = jpeg_of_scans(100_000, 4000, 4000)
    assert len(data) < 4e6
    with pytest.raises(tf.errors.InvalidArgumentError, match="100000 scans; allowed: 500"):
        decode_image(tf.constant(data))


def test_scans_are_counted_of_jpegs_alone():
    for data in (b"", b"\xff", b"\xff\xd8", b"\x89PNG" + b"\xff\xda" * 1000):
        assert int(count_scans(tf.constant(data))) == 0
