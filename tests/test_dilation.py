"""The rule on networks of a few layers. test_models.py has it on every backbone."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import randomize

from tf_advseg import registry
from tf_advseg.errors import InputError
from tf_advseg.models.backbones import BackboneOptions
from tf_advseg.models.dilation import dilate
from tf_advseg.models.layers import DilatedAveragePooling2D


@pytest.fixture(scope="module", autouse=True)
def _seed():
    random.seed(0)
    tf.random.set_seed(0)


def small(output_stride):
    return registry.load(registry.BACKBONES, "small")(BackboneOptions(output_stride)).network


def test_every_kernel_past_the_output_stride_is_dilated_by_what_was_lost():
    network = small(8)
    rates = {
        layer.name: (layer.strides[0], layer.dilation_rate[0])
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D)
    }
    assert rates["stem_conv"] == (2, 1)
    assert rates["stage3_block1_1_conv"] == (2, 1)
    assert rates["stage3_block2_1_conv"] == (1, 1)
    # The convolution that would stride meets the finer grid's pixels; later ones skip every other.
    assert rates["stage4_block1_1_conv"] == (1, 1)
    assert rates["stage4_block1_2_conv"] == (1, 2)
    assert rates["stage5_block1_1_conv"] == (1, 2)
    assert rates["stage5_block1_2_conv"] == (1, 4)
    assert rates["stage5_block1_0_conv"] == (1, 1)  # A 1x1 kernel has nothing to dilate.


def pooled(pool):
    image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(4, 3, 2, padding="same")(image)
    return keras.Model(image, pool(x))


def test_pooling_past_the_output_stride_is_refused():
    network = pooled(keras.layers.MaxPooling2D(2, name="pool"))
    with pytest.raises(InputError, match="pool cannot be dilated to output stride 2"):
        dilate(network, 2)
    assert dilate(network, 4)(np.zeros((1, 9, 12, 3))).shape == (1, 2, 3, 4)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.MaxPooling2D(3, 1, name="later"),
        keras.layers.SeparableConv2D(2, 3),
        keras.layers.Conv2DTranspose(2, 3, padding="same"),
    ],
)
def test_other_windows_past_the_output_stride_are_refused(layer):
    network = pooled(layer)
    with pytest.raises(InputError, match=f"{layer.name} cannot be dilated"):
        dilate(network, 1)
    assert dilate(network, 2)(np.zeros((1, 9, 12, 3))).shape[0] == 1  # Nothing is lost there.


def test_explicit_padding_past_the_output_stride_is_refused():
    image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(4, 3, 2, padding="same")(image)
    x = keras.layers.ZeroPadding2D(1, name="pad")(x)
    network = keras.Model(image, keras.layers.Conv2D(4, 3)(x))
    with pytest.raises(InputError, match="pad cannot be dilated"):
        dilate(network, 1)


def test_depthwise_convolutions_are_dilated_too():
    image = keras.Input((64, 64, 3))
    x = keras.layers.DepthwiseConv2D(3, 2, padding="same", name="strided")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="later")(x)
    network = keras.Model(image, x)
    dilated = dilate(network, 1)
    dilated.set_weights(network.get_weights())
    assert dilated.get_layer("later").dilation_rate == (2, 2)
    images = np.random.default_rng(0).normal(size=(1, 33, 65, 3)).astype(np.float32)
    rebuilt = dilate(network, 2)
    rebuilt.set_weights(network.get_weights())
    np.testing.assert_allclose(dilated(images)[:, ::2, ::2], rebuilt(images), atol=1e-5)


def test_dilated_network_has_weights_of_its_own():
    network = small(8)
    other = small(8)
    assert not {v.ref() for v in network.weights} & {v.ref() for v in other.weights}
    assert [v.shape for v in network.weights] == [v.shape for v in other.weights]


def line(values):
    """A map of one row, [1, 1, W, 1]."""
    return np.array(values, np.float32)[None, None, :, None]


def test_dilated_average_pooling_by_hand():
    values = line([1, 2, 4, 8, 16])
    pairs = DilatedAveragePooling2D((1, 2), (1, 2))
    # (1 + 4) / 2, (2 + 8) / 2, (4 + 16) / 2; nothing lies two after the last two.
    assert pairs(values).numpy().ravel().tolist() == [2.5, 5, 10, 8, 16]
    inside = DilatedAveragePooling2D((1, 2), (1, 2), "valid")
    assert inside(values).numpy().ravel().tolist() == [2.5, 5, 10]
    triples = DilatedAveragePooling2D((1, 3), 2)
    # (1 + 4) / 2, (2 + 8) / 2, (1 + 4 + 16) / 3, (2 + 8) / 2, (4 + 16) / 2
    assert triples(values).numpy().ravel().tolist() == [2.5, 5, 7, 5, 10]
    # A window of 2 x 2 at distance 1: four pixels, two at the edges, one in the corner.
    square = np.array([[0, 4, 8], [12, 16, 20]], np.float32)[None, :, :, None]
    pooled = DilatedAveragePooling2D(2, 1)(square)
    assert pooled.numpy()[0, :, :, 0].tolist() == [[8, 12, 14], [14, 18, 20]]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [2, 3, (3, 2)])
def test_pooling_without_dilation_is_keras_pooling(size, padding):
    images = np.random.default_rng(0).normal(size=(2, 7, 10, 3)).astype(np.float32)
    expected = keras.layers.AveragePooling2D(size, 1, padding)(images)
    pooled = DilatedAveragePooling2D(size, 1, padding)(images)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_dilated_pooling_keeps_the_dtype_and_comes_back_from_its_configuration():
    layer = DilatedAveragePooling2D(2, (2, 3), "valid", name="pool", dtype="mixed_bfloat16")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    values = np.random.default_rng(0).normal(size=(1, 6, 7, 2)).astype(np.float32)
    assert again(values).dtype == tf.bfloat16
    assert again(values).shape == (1, 4, 4, 2)
    np.testing.assert_array_equal(again(values), layer(values))


def test_dilated_pooling_has_the_gradient_of_its_windows():
    values = tf.constant(line([1, 2, 4, 8, 16]))
    with tf.GradientTape() as tape:
        tape.watch(values)
        first, *_ = tf.unstack(tf.reshape(DilatedAveragePooling2D((1, 2), 2)(values), [-1]))
    assert tape.gradient(first, values).numpy().ravel().tolist() == [0.5, 0, 0.5, 0, 0]


@pytest.mark.parametrize("output_stride", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(7, 10), (33, 18), (64, 61)])
def test_dilated_pools_subsampled_equal_the_strided_ones_at_any_size(size, padding, output_stride):
    image = keras.Input((64, 64, 3))
    x = keras.layers.AveragePooling2D(2, padding=padding, name="pool1")(image)
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    x = keras.layers.AveragePooling2D(2, padding=padding, name="pool2")(x)
    x = keras.layers.AveragePooling2D(3, 1, padding="same", name="pool3")(x)
    network = keras.Model(image, keras.layers.Conv2D(4, 3, padding="same")(x))
    randomize(network)
    strided, dilated = dilate(network, 4), dilate(network, output_stride)
    assert isinstance(strided.get_layer("pool2"), keras.layers.AveragePooling2D)
    assert dilated.get_layer("pool2").dilation_rate == (2 // output_stride,) * 2
    for other in (strided, dilated):
        other.set_weights(network.get_weights())
    images = np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32)
    step = 4 // output_stride
    expected = strided(images).numpy()
    assert expected.std() > 0
    np.testing.assert_allclose(dilated(images)[:, ::step, ::step], expected, atol=1e-5)
