"""Images that the graph cannot decode are found by `decode_all`, which knows no TensorFlow."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_advseg.data.decode import decode_image
from tf_advseg.data.images import decode_all
from tf_advseg.errors import InputError


def picture(kind, rng):
    pixels = rng.integers(0, 256, (24, 30, 3)).astype(np.uint8)
    stream = io.BytesIO()
    if kind == "grey PNG of 16 bits":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(stream, "PNG")
    else:
        Image.fromarray(pixels).save(stream, kind.split(",")[0], progressive="progressive" in kind)
    return bytearray(stream.getvalue())


def damage(content, rng):
    """Changes a byte or a bit, or takes some bytes out; half of the time near the end."""
    size = len(content)
    place = int(rng.integers(0, size) if rng.random() < 0.5 else rng.integers(size - 24, size))
    change = rng.integers(0, 3)
    if change == 0:
        content[place] = rng.integers(0, 256)
    elif change == 1:
        content[place] ^= 1 << int(rng.integers(0, 8))
    else:
        del content[place : place + int(rng.integers(1, 20))]


def works(decode, *error):
    try:
        decode()
    except error:
        return False
    return True


@pytest.mark.parametrize("kind", ["JPEG", "JPEG, progressive", "PNG", "grey PNG of 16 bits"])
def test_what_the_graph_refuses_is_found(kind, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "image"
    refused = 0
    for _ in range(200):
        content = picture(kind, rng)
        damage(content, rng)
        path.write_bytes(content)
        in_graph = works(lambda: decode_image(tf.io.read_file(str(path))), tf.errors.OpError)
        found_whole = works(lambda: decode_all(path), InputError)
        assert in_graph or not found_whole
        refused += not in_graph
    assert refused > 30


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_after_a_whole_picture_are_harmless(kind, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(picture(kind, np.random.default_rng(0)) + b"\0\0 a camera's notes")
    decode_all(path)
    assert decode_image(tf.io.read_file(str(path))).shape == (24, 30, 3)
