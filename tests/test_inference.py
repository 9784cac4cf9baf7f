"""Prediction over scales and mirrored, against plain sums."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import picture, resized, tiny_discriminator, tiny_segmenter

from tf_advseg.evaluation.inference import Predictor, resize


@pytest.fixture(scope="module")
def segmenter():
    return tiny_segmenter()


def softmax_of(segmenter, images):
    return tf.nn.softmax(segmenter(tf.cast(images, tf.float32), training=False)).numpy()


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


@pytest.mark.parametrize(
    ("old", "new"),
    [((7, 9), (3, 4)), ((12, 5), (6, 5)), ((40, 3), (1, 7)), ((9, 9), (8, 20)), ((5, 6), (11, 6))],
)
def test_resize_equals_tensorflows_smoothed_one(old, new):
    maps = picture(*old).astype(np.float32)
    expected = tf.image.resize(maps, new, antialias=True)
    np.testing.assert_allclose(resize(maps, tf.constant(new)), expected, atol=1e-4)


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


@pytest.mark.parametrize("size", [(5, 6), (6, 7), (9, 4)])
def test_flip_changes_nothing_for_a_network_of_mirrored_kernels(size):
    symmetric = tiny_segmenter()
    body = symmetric.get_layer("body")
    kernel, bias = body.get_weights()
    body.set_weights([kernel + kernel[:, ::-1], bias])
    images = picture(*size)
    plain = Predictor(symmetric)(images)
    flipped = Predictor(symmetric, flip=True)(images)
    np.testing.assert_allclose(plain.probabilities, flipped.probabilities, atol=1e-6)
    # And the prediction of the mirrored image is the mirrored prediction, of any network.
    flipping = Predictor(tiny_segmenter(), flip=True)
    mirrored = flipping(images[:, :, ::-1]).probabilities.numpy()
    np.testing.assert_array_equal(flipping(images).probabilities, mirrored[:, :, ::-1])


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


def counting_network():
    """Returns a network that puts out its input, and the list of the shapes it was traced with."""
    traced = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape)
            return inputs

    image = keras.Input((None, None, 3))
    return keras.Model(image, Counting()(image)), traced


def test_many_sizes_share_one_graph():
    network, traced = counting_network()
    predictor = Predictor(network)
    predictor(picture(3, 3))
    after_first = len(traced)
    for size in ((4, 5), (1, 9), (7, 2)):
        predictor(picture(*size))
    assert len(traced) == after_first


def test_views_run_one_after_the_other():
    network, traced = counting_network()
    built = len(traced)
    Predictor(network, scales=(0.5, 1, 2), flip=True)(picture(8, 8))
    # One graph holds one view: TensorFlow runs the branches of a graph side by side.
    assert len(traced) == built + 1
