"""Orientation without TensorFlow against that of the graph, for whole and for damaged files."""

import io
import random
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from test_decode import encoded, exif_block, garbage, picture

from tests.soak.mutators import MUTATORS
from tf_advseg.data import exif, images, jpeg
from tf_advseg.data.decode import decode_image, exif_orientation

in_graph = tf.function(
    exif_orientation, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


def assert_alike(files):
    found = [exif.orientation(data[: jpeg.PREFIX_BYTES]) for data in files]
    assert found == [int(in_graph(data)) for data in files]
    return found


@pytest.mark.parametrize("order", [">", "<"])
def test_every_orientation_is_that_of_the_graph(order):
    files = [encoded(picture(), "JPEG", exif=exif_block(o, order)) for o in range(1, 9)]
    assert assert_alike(files) == list(range(1, 9))


def test_garbage_is_upright_in_both():
    files = [encoded(picture(), "JPEG", exif=block) for block in garbage().values()]
    assert set(assert_alike([*files, b"", b"\xff\xd8", encoded(picture(), "PNG")])) == {1}


def test_damaged_files_are_read_alike():
    rng = random.Random(0)
    blocks = [exif_block(o, order) for o in (3, 6, 8) for order in "<>"]
    files = [encoded(picture((9, 14)), "JPEG", exif=block) for block in blocks]
    files += [encoded(picture((9, 14)), "JPEG", exif=blocks[1], comment=b"c" * 40)]
    damaged = []
    for _ in range(300):
        # The blocks are within the first 150 bytes.
        whole = rng.choice(files)
        head = rng.choice(MUTATORS)(whole[:150], rng.choice(files)[:150], rng)[:1000]
        damaged.append(head + whole[150:])
    found = assert_alike(damaged)
    assert 30 < np.count_nonzero(np.array(found) > 1) < 270  # Of both kinds.


def test_check_and_graph_agree_on_a_block_behind_stray_bytes(tmp_path):
    """Pillow finds such a block, and the graph does not."""
    whole = encoded(picture((30, 41)), "JPEG", exif=exif_block(6, ">"))
    at = whole.index(b"\xff\xe1")
    data = whole[:at] + b"\0\0" + whole[at:]
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[0x0112] == 6
    assert images.image_size(path) == decode_image(data).shape[:2] == (30, 41)


def test_huge_offset_leads_nowhere_in_both():
    for offset in (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8):
        block = bytearray(exif_block(6, ">"))
        block[10:14] = struct.pack(">I", offset)
        assert_alike([encoded(picture(), "JPEG", exif=bytes(block))])
