"""Mixing a batch: which part of an image comes from which other one."""

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.training.cutmix import mixed

# Of each image of two pixels, the second comes from the neighbour.
SECOND = [[False, True]]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (4, [[0, 1], [1, 0], [2, 3], [3, 2]]),
        (3, [[0, 1], [1, 0], [2, 2]]),
        (1, [[0, 0]]),
    ],
)
def test_neighbors_swap_their_boxes_and_a_last_one_stays(count, expected):
    images = tf.tile(tf.range(count)[:, tf.newaxis, tf.newaxis, tf.newaxis], [1, 1, 2, 3])
    boxes = tf.constant([SECOND] * count)
    found = mixed(images, boxes).numpy()
    assert found.shape == (count, 1, 2, 3)
    assert found[:, 0, :, 0].tolist() == expected
    # A map is mixed as its image is.
    np.testing.assert_array_equal(mixed(images[..., 1], boxes), found[..., 1])


def test_each_image_has_a_box_of_its_own():
    images = tf.constant([[[0, 0, 0]], [[1, 1, 1]]])
    boxes = tf.constant([[[True, False, False]], [[False, False, True]]])
    assert mixed(images, boxes).numpy().tolist() == [[[1, 0, 0]], [[1, 1, 0]]]


def test_pieces_of_even_size_are_mixed_as_the_whole():
    images = tf.random.stateless_uniform([4, 3, 3, 2], [1, 2])
    boxes = tf.random.stateless_uniform([4, 3, 3], [3, 4]) < 0.5
    parts = [mixed(images[at : at + 2], boxes[at : at + 2]) for at in (0, 2)]
    np.testing.assert_array_equal(tf.concat(parts, 0), mixed(images, boxes))
