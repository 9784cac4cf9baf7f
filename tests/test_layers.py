"""The layers: values by hand, and back from their configuration."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.models.layers import Normalize, ResizeLike
from tf_advseg.models.normalization import FrozenAffineBatchNormalization


def test_normalize_subtracts_the_mean_divides_and_reverses_the_channels():
    image = tf.constant([[[[10, 20, 30]]]], tf.uint8)
    by_imagenet = Normalize("imagenet")(image)
    assert by_imagenet.dtype == tf.float32
    # (10 - 123.675) / 58.395, (20 - 116.28) / 57.12, (30 - 103.53) / 57.375
    np.testing.assert_allclose(by_imagenet[0, 0, 0], [-1.946656, -1.685574, -1.281569], rtol=1e-5)
    # Blue first: 30 - 103.939, 20 - 116.779, 10 - 123.68
    np.testing.assert_allclose(Normalize("caffe")(image)[0, 0, 0], [-73.939, -96.779, -113.68])
    by_deeplab = Normalize("deeplab")(image)[0, 0, 0]
    np.testing.assert_allclose(by_deeplab, [-74.00698793, -96.66876762, -112.67891434])
    np.testing.assert_allclose(Normalize("authors")(image)[0, 0, 0], by_deeplab[::-1])


def test_normalize_stays_float32_under_another_policy():
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        layer = Normalize("caffe")
        resize = ResizeLike()
    finally:
        keras.mixed_precision.set_global_policy(before)
    # bfloat16 has no 146.561, which is 250.5 - 103.939, and no 250.5.
    assert layer(tf.fill([1, 1, 1, 3], 250.5)).numpy().max() == np.float32(146.561)
    small = tf.constant([[[[250.5], [250.5]]]])
    assert resize((small, tf.zeros([1, 1, 4, 3]))).numpy().max() == 250.5


def test_resize_like_interpolates_between_pixel_centers():
    small = tf.constant([[[[0.0], [4.0]]]], tf.float16)
    resized = ResizeLike()((small, tf.zeros([1, 2, 4, 5])))
    assert resized.dtype == tf.float32
    # Centers of the wide pixels lie at -1/4, 1/4, 3/4, 5/4 of the narrow ones'.
    assert resized.numpy()[0, :, :, 0].tolist() == [[0, 1, 3, 4], [0, 1, 3, 4]]


def test_aligned_resize_interpolates_between_the_corner_pixels():
    small = tf.constant([[[[0.0], [4.0]]]], tf.float16)
    resized = ResizeLike(align_corners=True)((small, tf.zeros([1, 2, 4, 5])))
    assert resized.dtype == tf.float32
    np.testing.assert_allclose(resized[0, :, :, 0], [[0, 4 / 3, 8 / 3, 4]] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        Normalize("caffe", name="normalize"),
        Normalize("imagenet"),
        ResizeLike(name="logits"),
        ResizeLike(align_corners=True),
    ],
)
def test_layers_come_back_from_their_config(layer):
    config = keras.saving.serialize_keras_object(layer)
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert type(rebuilt) is type(layer)
    assert rebuilt.get_config() == layer.get_config()
    assert rebuilt.name == layer.name
    assert rebuilt.compute_dtype == "float32"


def test_resize_like_says_its_output_shape():
    shape = ResizeLike().compute_output_shape(((2, 3, 4, 5), (2, None, 9, 1)))
    assert shape == (2, None, 9, 5)


@pytest.fixture
def frozen_affine():
    layer = FrozenAffineBatchNormalization(momentum=0.9, epsilon=0.0, fused=False)
    layer.build((None, None, None, 1))
    layer.set_weights([np.array([value]) for value in (3.0, 5.0, 0.0, 1.0)])
    return layer


def test_frozen_affine_norm_uses_and_follows_batch_statistics(frozen_affine):
    values = tf.constant([[[[2.0], [6.0]]]])  # Mean 4, variance 4.
    assert frozen_affine(values, training=True).numpy().ravel().tolist() == [2.0, 8.0]
    np.testing.assert_allclose(frozen_affine.moving_mean, [0.4], rtol=1e-6)
    np.testing.assert_allclose(frozen_affine.moving_variance, [0.9 + 0.4], rtol=1e-6)


def test_frozen_affine_norm_has_nothing_to_learn_and_the_weights_of_any_other(frozen_affine):
    assert frozen_affine.trainable_variables == []
    plain = keras.layers.BatchNormalization()
    plain.build((None, None, None, 1))
    names = [v.name.split("/")[-1] for v in frozen_affine.weights]
    assert names == [v.name.split("/")[-1] for v in plain.weights]
