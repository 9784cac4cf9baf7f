"""Prediction over scales, mirrored and in windows, against plain sums."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import tiny_discriminator, tiny_segmenter

from tf_advseg.evaluation.inference import Predictor, window_slices


@pytest.fixture(scope="module")
def segmenter():
    return tiny_segmenter()


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), np.uint8)


def softmax_of(segmenter, images):
    return tf.nn.softmax(segmenter(tf.cast(images, tf.float32), training=False)).numpy()


def resized(maps, height, width):
    return tf.image.resize(tf.cast(maps, tf.float32), (height, width), antialias=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (16, 8)])
def test_plain_prediction_is_the_softmax_of_the_segmenter(segmenter, size):
    images = picture(*size)
    predicted = Predictor(segmenter)(images)
    expected = softmax_of(segmenter, images)
    np.testing.assert_allclose(predicted.probabilities, expected, atol=1e-6)
    assert predicted.class_ids.dtype == tf.int32
    np.testing.assert_array_equal(predicted.class_ids, expected.argmax(-1))
    np.testing.assert_allclose(predicted.confidence, expected.max(-1), atol=1e-6)


def test_bytes_and_floats_are_predicted_alike(segmenter):
    predictor = Predictor(segmenter)
    images = picture(5, 6)
    for of_bytes, of_floats in zip(predictor(images), predictor(images.astype(np.float32))):
        np.testing.assert_array_equal(of_bytes, of_floats)


def test_input_scale_shrinks_what_the_network_sees_and_not_the_result(segmenter):
    images = picture(12, 10)
    predicted = Predictor(segmenter, input_scale=0.5)(images)
    small = segmenter(resized(images, 6, 5))
    expected = tf.nn.softmax(resized(small, 12, 10))
    np.testing.assert_allclose(predicted.probabilities, expected, atol=1e-6)


def test_scales_are_times_the_input_scale_and_averaged(segmenter):
    images = picture(12, 8)
    predicted = Predictor(segmenter, input_scale=0.5, scales=(0.5, 1, 2))(images)
    views = [
        tf.nn.softmax(resized(segmenter(resized(images, *size)), 12, 8)).numpy()
        for size in ((3, 2), (6, 4), (12, 8))
    ]
    np.testing.assert_allclose(predicted.probabilities, np.mean(views, axis=0), atol=1e-6)


def test_scale_of_a_tiny_image_leaves_at_least_one_pixel(segmenter):
    predicted = Predictor(segmenter, scales=(0.1,))(picture(1, 3))
    assert predicted.probabilities.shape == (1, 1, 3, 3)
    assert np.isfinite(predicted.probabilities).all()


def test_flip_averages_with_the_mirrored_prediction(segmenter):
    images = picture(5, 7)
    predicted = Predictor(segmenter, flip=True)(images)
    plain, mirrored = softmax_of(segmenter, images), softmax_of(segmenter, images[:, :, ::-1])
    assert np.abs(plain - mirrored[:, :, ::-1]).max() > 0.01  # The network is not symmetric.
    expected = (plain + mirrored[:, :, ::-1]) / 2
    np.testing.assert_allclose(predicted.probabilities, expected, atol=1e-6)


@pytest.mark.parametrize("window", [None, (4, 3)])
def test_flip_changes_nothing_for_a_symmetric_network(window):
    pointwise = tiny_segmenter(kernel=1)
    images = picture(6, 7)
    plain = Predictor(pointwise, sliding_window=window)(images)
    flipped = Predictor(pointwise, flip=True, sliding_window=window)(images)
    np.testing.assert_allclose(plain.probabilities, flipped.probabilities, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (9, 12), (8, 11)])
def test_window_that_covers_the_image_gives_the_plain_prediction(segmenter, size):
    images = picture(*size)
    plain = Predictor(segmenter, scales=(0.75, 1))(images)
    windowed = Predictor(segmenter, scales=(0.75, 1), sliding_window=(9, 12))(images)
    for of_plain, of_window in zip(plain, windowed):
        np.testing.assert_allclose(of_plain, of_window, atol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
def test_windows_average_the_logits_of_every_window_over_a_pixel(segmenter, flip):
    images = picture(10, 9, seed=3).astype(np.float32)

    def by_hand(images):
        total, count = np.zeros((1, 10, 9, 3)), np.zeros((10, 9, 1))
        # Windows of 6: of 10 rows they start at 0 and 4, of 9 columns at 0 and 3.
        for top in (0, 4):
            for left in (0, 3):
                area = np.s_[:, top : top + 6, left : left + 6]
                total[area] += segmenter(images[area]).numpy()
                count[area[1:]] += 1
        return tf.nn.softmax(total / count).numpy()

    expected = by_hand(images)
    if flip:
        expected = (expected + by_hand(images[:, :, ::-1])[:, :, ::-1]) / 2
    predicted = Predictor(segmenter, flip=flip, sliding_window=(6, 6))(images)
    np.testing.assert_allclose(predicted.probabilities, expected, atol=1e-5)


def test_windows_take_batches(segmenter):
    images = np.concatenate([picture(7, 8, seed=1), picture(7, 8, seed=2)])
    predictor = Predictor(segmenter, sliding_window=(4, 5))
    together = predictor(images).probabilities
    for index in range(2):
        alone = predictor(images[index : index + 1]).probabilities[0]
        np.testing.assert_allclose(together[index], alone, atol=1e-6)


def test_confidence_is_the_discriminators(segmenter):
    discriminator = tiny_discriminator()
    images = picture(6, 7)
    predicted = Predictor(segmenter, discriminator)(images)
    logits = discriminator(predicted.probabilities).numpy()[..., 0]
    np.testing.assert_allclose(predicted.confidence, 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_discriminator_sees_maps_at_the_scale_it_was_trained_with(segmenter):
    discriminator = tiny_discriminator()
    predicted = Predictor(segmenter, discriminator, input_scale=0.5, scales=(1, 2))(picture(8, 12))
    logits = resized(discriminator(resized(predicted.probabilities, 4, 6)), 8, 12)
    np.testing.assert_allclose(predicted.confidence, tf.sigmoid(logits)[..., 0], atol=1e-6)


def test_many_sizes_share_one_graph():
    traced = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape)
            return inputs

    image = keras.Input((None, None, 3))
    predictor = Predictor(keras.Model(image, Counting()(image)))
    predictor(picture(3, 3))
    after_first = len(traced)
    for size in ((4, 5), (1, 9), (7, 2)):
        predictor(picture(*size))
    assert len(traced) == after_first


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 7, 16, 33, 321])
def test_windows_cover_an_axis_evenly_with_a_third_of_overlap(window):
    for length in [*range(1, 70), 321, 500, 513, 2048]:
        slices = window_slices(length, window)
        starts = [part.start for part in slices]
        assert {part.stop - part.start for part in slices} == {min(window, length)}
        assert starts[0] == 0
        assert slices[-1].stop == length
        assert starts == sorted(set(starts))
        steps = np.diff(starts)
        if len(steps):
            assert steps.max() - steps.min() <= 1
            # A third of the window, but for rounding; a window of one pixel cannot overlap.
            assert window == 1 or window - steps.max() >= window / 3 - 0.5
            assert steps.max() <= window
