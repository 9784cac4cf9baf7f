"""The harder view: colours that change, pixels that do not move, and CutMix's boxes."""

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.data import distort

IMAGE = tf.constant(np.random.default_rng(0).uniform(0, 255, (12, 16, 3)), tf.float32)
HALVES = tf.constant(np.where(np.arange(40)[:, None, None] < 20, 40.0, 200.0), tf.float32)
HALVES = tf.tile(HALVES, [1, 30, 3])  # Dark above, light below.


def seed(number):
    return tf.constant([number, 7], tf.int64)


def test_values_stay_in_range_and_follow_the_seed():
    views = [distort.distort(IMAGE, seed(n % 20), 1.0).numpy() for n in range(21)]
    assert all(view.shape == (12, 16, 3) and view.dtype == np.float32 for view in views)
    assert min(view.min() for view in views) >= 0 and max(view.max() for view in views) <= 255
    np.testing.assert_array_equal(views[0], views[20])
    assert len({view.tobytes() for view in views}) == 20


def test_strength_0_changes_no_color():
    kept = [
        np.allclose(distort.distort(IMAGE, seed(number), 0.0), IMAGE, atol=1e-2)
        for number in range(24)
    ]
    # About half of the views are blurred, which is no change of colours.
    assert 4 <= sum(kept) <= 20


def test_no_pixel_moves():
    for number in range(24):
        view = distort.distort(HALVES, seed(number), 1.0).numpy().mean(axis=-1)
        # Light stays below; a blur reaches three pixels to each side of the border.
        assert view[:16].max() < view[24:].min()
        assert np.ptp(view[:16]) < 1 and np.ptp(view[24:]) < 1


def test_eager_and_pipeline_agree():
    dataset = tf.data.Dataset.range(4).map(
        lambda number: distort.distort(IMAGE, tf.stack([number, 7]), 0.5)
    )
    for number, view in enumerate(dataset):
        eager = distort.distort(IMAGE, seed(number), 0.5)
        np.testing.assert_allclose(view, eager, atol=1e-2)


@pytest.mark.parametrize("size", [(40, 60), (17, 33), (96, 96)])
def test_boxes_have_half_of_the_area_at_any_place(size):
    height, width = size
    boxes = np.stack([distort.box(seed(number), size).numpy() for number in range(60)])
    rows, columns = boxes.any(axis=2), boxes.any(axis=1)
    # A box is all pixels of its rows and columns, without a gap.
    np.testing.assert_array_equal(boxes, rows[:, :, None] & columns[:, None, :])
    for lines in (rows, columns):
        assert (np.abs(np.diff(lines.astype(int), axis=1)).sum(axis=1) <= 2).all()
    # Rounding its sides moves the area by half a pixel along each.
    slack = 0.5 * (height + width) / (height * width)
    assert (np.abs(boxes.mean(axis=(1, 2)) - 0.5) <= slack).all()
    # Tall and wide ones, some at each border.
    for lines in (rows, columns):
        assert lines.mean(axis=1).min() < 0.6 and lines.mean(axis=1).max() > 0.9
        assert 0 < lines[:, 0].mean() < 1 and 0 < lines[:, -1].mean() < 1
