"""Augmentation, for any odd sizes, scales and seeds."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tf_advseg.data import VOID_LABEL, augment
from tf_advseg.data.augment import Geometry

PADDING = (1.0, 2.0, 3.0)

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
crop_sizes = st.tuples(st.integers(1, 25), st.integers(1, 25))
seeds = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
scales = st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)).map(sorted)


def source(size):
    """An image whose pixels say where they are, in 4 to 250, and a label with the same numbers."""
    rows, columns = np.indices(size)
    image = np.stack([4 + 6 * rows, 4 + 6 * columns, 250 - 6 * rows], axis=-1).astype(np.uint8)
    label = (rows * size[1] + columns) % 251
    return image, label.astype(np.uint8)


def drawn(rule, seed, size, crop_size, **options):
    geometry = rule(tf.constant(seed, tf.int64), tf.constant(size), crop_size, **options)
    return Geometry(*(part.numpy() for part in geometry))


def crops(size, geometry, crop_size):
    """Image, label and valid crop of `source`, as arrays."""
    image, label = source(size)
    geometry = Geometry(*map(tf.constant, geometry))
    return (
        augment.crop_image(image, geometry, crop_size, PADDING).numpy(),
        augment.crop_label(label, geometry, crop_size).numpy(),
        augment.crop_valid(geometry, crop_size).numpy(),
    )


def check_inside(geometry, size, crop_size):
    assert (geometry.corner >= 0).all()
    assert (geometry.window >= 1).all() and (geometry.size >= 1).all()
    assert (geometry.corner + geometry.window <= size).all()
    assert (geometry.size <= crop_size).all()


@given(seeds, sizes, crop_sizes, scales)
def test_scaled_crop_lies_in_its_source(seed, size, crop_size, scale_range):
    geometry = drawn(augment.random_scale, seed, size, crop_size, scale_range=scale_range)
    check_inside(geometry, size, crop_size)
    # Filled, or all of the side is shown.
    assert ((geometry.size == crop_size) | (geometry.window == size)).all()


@given(seeds, sizes, crop_sizes)
def test_area_crop_lies_in_its_source_and_fills_the_crop(seed, size, crop_size):
    geometry = drawn(augment.random_area, seed, size, crop_size, flip=True)
    check_inside(geometry, size, crop_size)
    assert tuple(geometry.size) == crop_size


@given(seeds, sizes, crop_sizes, scales)
def test_image_label_and_valid_are_one_crop(seed, size, crop_size, scale_range):
    geometry = drawn(augment.random_scale, seed, size, crop_size, scale_range=scale_range)
    image, label, valid = crops(size, geometry, crop_size)
    assert image.shape == (*crop_size, 3) and label.shape == valid.shape == crop_size
    assert valid.sum() == geometry.size.prod()
    # Each has its own padding exactly where the mask says so: no source pixel has its value.
    np.testing.assert_array_equal((image == PADDING).all(axis=-1), ~valid)
    np.testing.assert_array_equal(label == VOID_LABEL, ~valid)
    shown = image[valid]
    assert shown.min() >= 4 - 1e-3 and shown.max() <= 250 + 1e-3


@given(seeds, sizes, crop_sizes, scales)
def test_crop_shows_the_place_that_its_geometry_names(seed, size, crop_size, scale_range):
    geometry = drawn(augment.random_scale, seed, size, crop_size, scale_range=scale_range)
    image, label, valid = crops(size, geometry, crop_size)
    # The image says its place by its colours; where it is smoothed, to within the wider pixel.
    rows, columns = (image[..., 0] - 4) / 6, (image[..., 1] - 4) / 6
    places = np.indices(size).reshape(2, -1)
    _, numbers = source(size)
    if len(np.unique(numbers)) == numbers.size:  # Else a number does not name one place.
        order = np.argsort(numbers.ravel())
        found = places[:, order][:, np.searchsorted(np.sort(numbers.ravel()), label[valid])]
        reach = np.maximum(1, geometry.window / geometry.size)
        assert (np.abs(found[0] - rows[valid]) <= reach[0]).all()
        assert (np.abs(found[1] - columns[valid]) <= reach[1]).all()
    # And inside of the window.
    for axis, place in enumerate((rows[valid], columns[valid])):
        start = geometry.corner[axis]
        assert place.min() >= start - 1e-3
        assert place.max() <= start + geometry.window[axis] - 1 + 1e-3


@given(seeds, sizes, crop_sizes)
def test_crop_at_scale_1_is_found_again_in_its_source(seed, size, crop_size):
    geometry = drawn(augment.random_scale, seed, size, crop_size, scale_range=(1.0, 1.0))
    image, label, valid = crops(size, geometry, crop_size)
    source_image, source_label = source(size)
    step = -1 if geometry.mirrored else 1
    (top, left), (height, width) = geometry.corner, geometry.size
    window = np.s_[top : top + height, left : left + width]
    np.testing.assert_array_equal(image[:, ::step][:height, :width], source_image[window])
    np.testing.assert_array_equal(label[:, ::step][:height, :width], source_label[window])
    assert valid[:, ::step][:height, :width].all()


@given(seeds, sizes, crop_sizes, scales)
def test_mirror_twice_is_the_crop_itself(seed, size, crop_size, scale_range):
    geometry = drawn(augment.random_scale, seed, size, crop_size, scale_range=scale_range)
    other = geometry._replace(mirrored=~geometry.mirrored)
    for crop, mirrored in zip(crops(size, geometry, crop_size), crops(size, other, crop_size)):
        np.testing.assert_array_equal(crop, mirrored[:, ::-1])


@given(seeds, sizes, crop_sizes, scales)
def test_label_crop_has_only_classes_of_its_window(seed, size, crop_size, scale_range):
    geometry = drawn(augment.random_scale, seed, size, crop_size, scale_range=scale_range)
    _, label, valid = crops(size, geometry, crop_size)
    (top, left), (height, width) = geometry.corner, geometry.window
    window = source(size)[1][top : top + height, left : left + width]
    assert set(label[valid].tolist()) <= set(window.ravel().tolist())
