"""Sliding windows of any size over images of any size, against a plain loop."""

from unittest import mock

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import picture, tiny_segmenter

from tf_advseg.evaluation import inference
from tf_advseg.evaluation.inference import Predictor, window_slices

SEGMENTER = tiny_segmenter()
LEAST_OVERLAP = 1 / 3
sizes = st.tuples(st.integers(1, 14), st.integers(1, 14))
few = settings(max_examples=max(5, settings().max_examples // 5))


@given(st.integers(1, 3000), st.integers(1, 700))
def test_windows_go_from_border_to_border_without_gaps(length, window):
    found = window_slices(length, window)
    assert found[0].start == 0 and found[-1].stop == length
    assert {one.stop - one.start for one in found} == {min(window, length)}
    starts = [one.start for one in found]
    assert starts == sorted(set(starts))  # None twice.
    steps = np.diff(starts)
    # Spread evenly, and each shares about a third with the next one.
    assert np.ptp(steps) <= 1 if len(steps) else True
    assert all(step <= max(1, round(window * (1 - LEAST_OVERLAP))) for step in steps)


@given(st.integers(1, 400), st.integers(1, 400))
def test_every_pixel_is_in_a_window(length, window):
    weights = np.zeros(length, int)
    for one in window_slices(length, window):
        weights[one] += 1
    assert weights.min() >= 1


@given(st.integers(1, 400), st.integers(0, 400))
def test_one_window_does_where_it_fits(length, more):
    assert window_slices(length, length + more) == [slice(0, length)]


@few
@given(sizes, st.integers(0, 9), st.integers(0, 9), st.integers(0, 99))
def test_window_of_the_image_or_larger_is_the_plain_prediction(size, higher, wider, seed):
    images = picture(*size, seed=seed)
    plain = Predictor(SEGMENTER)(images)
    windows = Predictor(SEGMENTER, sliding_window=(size[0] + higher, size[1] + wider))(images)
    for one, other in zip(plain, windows):
        np.testing.assert_array_equal(one, other)


def pixel_by_pixel(image, window, overlap):
    """Averages, for each pixel, the logits of every window over it; then softmax."""

    def starts(length, of_window):
        if of_window >= length:
            return [0]
        step, count = max(1, round(of_window * (1 - overlap))), 2
        while (count - 1) * step < length - of_window:
            count += 1
        return [round(n * (length - of_window) / (count - 1)) for n in range(count)]

    height, width = image.shape[:2]
    probabilities = np.zeros((height, width, 3))
    maps = {
        (top, left): SEGMENTER(
            image[np.newaxis, top : top + window[0], left : left + window[1]]
        ).numpy()[0]
        for top in starts(height, window[0])
        for left in starts(width, window[1])
    }
    for row in range(height):
        for column in range(width):
            seen = [
                logits[row - top, column - left]
                for (top, left), logits in maps.items()
                if 0 <= row - top < logits.shape[0] and 0 <= column - left < logits.shape[1]
            ]
            probabilities[row, column] = tf.nn.softmax(np.mean(seen, axis=0))
    return probabilities


@few
@given(sizes, sizes, st.sampled_from([0, 0.2, LEAST_OVERLAP, 0.5, 0.9]), st.integers(0, 99))
def test_windows_of_any_stride_are_a_loop_over_pixels(size, window, overlap, seed):
    images = picture(*size, seed=seed)
    with mock.patch.object(inference, "_WINDOW_OVERLAP", overlap):
        predicted = Predictor(SEGMENTER, sliding_window=window)(images)
    expected = pixel_by_pixel(images[0].astype(np.float32), window, overlap)
    np.testing.assert_allclose(predicted.probabilities[0], expected, atol=1e-5)
    np.testing.assert_allclose(np.sum(predicted.probabilities, axis=-1), 1, atol=1e-5)
