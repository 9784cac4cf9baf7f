"""A dilated network, subsampled to the strided network's grid, equals the strided one."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import randomize

from tf_advseg import registry
from tf_advseg.errors import InputError
from tf_advseg.models.dilation import dilate

#: Level -> input pixels in one step of the strided network's grid.
STRIDES = {"stage2": 4, "stage3": 8, "stage4": 16, "stage5": 32}
#: 64 k + 1: every "same" convolution of stride 2 is then centred on every second pixel.
SIZE = (65, 129)


@pytest.fixture(scope="module", autouse=True)
def _seed():
    random.seed(0)
    tf.random.set_seed(0)


@pytest.fixture(scope="module", params=["small", "resnet50"])
def strided(request):
    """A backbone's name, its network at stride 32, and an input with its features."""
    network = registry.load(registry.BACKBONES, request.param)(32).network
    randomize(network)
    images = np.random.default_rng(1).normal(0, 50, (1, *SIZE, 3)).astype(np.float32)
    features = {name: level.numpy() for name, level in network(images).items()}
    return request.param, network, images, features


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_network_subsampled_equals_the_strided_one(strided, output_stride):
    name, network, images, expected = strided
    dilated = registry.load(registry.BACKBONES, name)(output_stride).network
    dilated.set_weights(network.get_weights())
    features = dilated(images)
    assert list(features) == list(STRIDES)
    for level, stride in STRIDES.items():
        own_stride = min(stride, output_stride)
        height, width = (1 + (length - 1) // own_stride for length in SIZE)
        assert features[level].shape[1:3] == (height, width)
        step = stride // own_stride
        subsampled = features[level].numpy()[:, ::step, ::step]
        assert subsampled.shape == expected[level].shape
        assert expected[level].std() > 0
        difference = np.abs(subsampled - expected[level]).max()
        assert difference <= 1e-4 * np.abs(expected[level]).max(), level


@pytest.mark.parametrize("backbone", ["small", "resnet50"])
def test_levels_have_the_stated_strides(backbone):
    network = registry.load(registry.BACKBONES, backbone)(32).network
    features = network(np.zeros((1, 128, 192, 3), np.float32))
    for level, stride in STRIDES.items():
        assert features[level].shape[1:3] == (128 // stride, 192 // stride), level


def test_every_kernel_past_the_output_stride_is_dilated_by_what_was_lost():
    network = registry.load(registry.BACKBONES, "small")(8).network
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
    "layer", [keras.layers.AveragePooling2D(3, 1, name="later"), keras.layers.SeparableConv2D(2, 3)]
)
def test_other_windows_past_the_output_stride_are_refused(layer):
    network = pooled(layer)
    with pytest.raises(InputError, match=f"{layer.name} cannot be dilated"):
        dilate(network, 1)
    assert dilate(network, 2)(np.zeros((1, 9, 12, 3))).shape[1:3] == (3, 4)


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
    network = registry.load(registry.BACKBONES, "small")(8).network
    other = registry.load(registry.BACKBONES, "small")(8).network
    assert not {v.ref() for v in network.weights} & {v.ref() for v in other.weights}
    assert [v.shape for v in network.weights] == [v.shape for v in other.weights]
