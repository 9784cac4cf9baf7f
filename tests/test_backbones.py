"""Backbones: levels, strides and dilation, batch norm, Keras' weights, parameter counts."""

import random
import sys

import numpy as np
import pytest
import tensorflow as tf
from model_zoo import (
    backbone_of,
    backbones,
    every_backbone,
    every_backbone_costly,
    every_backbone_quick,
    is_not_heavy,
    once,
    picture,
)
from tiny_networks import randomize

from tf_advseg import registry
from tf_advseg.errors import InputError
from tf_advseg.models.conventions import BATCH_NORM_MODES, RESNET_STYLES
from tf_advseg.models.layers import Normalize
from tf_advseg.models.segmenter import build_segmenter, head_variables

#: Level -> input pixels in one step of the strided network's grid.
STRIDES = {"stage2": 4, "stage3": 8, "stage4": 16, "stage5": 32}
#: 64 k + 1: every "same" convolution of stride 2 is then centred on every second pixel.
CENTRED_SIZE = (65, 129)


@pytest.fixture(scope="module", autouse=True)
def _seed():
    random.seed(0)
    tf.random.set_seed(0)


@pytest.fixture(scope="module")
def strided(request):
    """A backbone's name, and its parts at stride 32."""
    parts = backbone_of(request.param, 32)
    randomize(parts.network)
    return request.param, parts


@every_backbone
def test_levels_have_the_stated_strides(strided):
    network = strided[1].network
    for height, width in ((128, 192), (65, 97), (33, 49), (1, 7)):
        features = network(np.zeros((1, height, width, 3), np.float32))
        assert list(features) == list(STRIDES)
        for level, stride in STRIDES.items():
            # The next larger whole number: no pixel of the image is left out.
            expected = (-(-height // stride), -(-width // stride))
            assert features[level].shape[1:3] == expected, (level, height, width)
            assert features[level].shape[-1] == network.output_shape[level][-1], level


def assert_subsampled_equals(strided, output_stride):
    """The dilated network, on the strided one's grid, has the same features."""
    name, network = strided[0], strided[1].network
    dilated = backbone_of(name, output_stride).network
    dilated.set_weights(network.get_weights())
    images = np.random.default_rng(1).normal(0, 50, (1, *CENTRED_SIZE, 3)).astype(np.float32)
    expected, features = network(images), dilated(images)
    assert list(features) == list(STRIDES)
    for level, stride in STRIDES.items():
        own_stride = min(stride, output_stride)
        height, width = (1 + (length - 1) // own_stride for length in CENTRED_SIZE)
        assert features[level].shape[1:3] == (height, width), level
        step = stride // own_stride
        subsampled, wanted = features[level].numpy()[:, ::step, ::step], expected[level].numpy()
        assert subsampled.shape == wanted.shape, level
        assert wanted.std() > 0
        assert np.abs(subsampled - wanted).max() <= 1e-5 * np.abs(wanted).max(), level


@every_backbone_quick
def test_network_of_stride_8_subsampled_equals_the_strided_one(strided):
    assert_subsampled_equals(strided, 8)


@every_backbone_costly
def test_network_of_stride_16_subsampled_equals_the_strided_one(strided):
    assert_subsampled_equals(strided, 16)


@pytest.mark.parametrize("backbone", sorted(set(registry.BACKBONES) - set(registry.STYLED)))
def test_unknown_style_is_refused(backbone):
    for style in set(RESNET_STYLES) - {"keras"}:
        with pytest.raises(InputError, match=f"{backbone} has no style '{style}'"):
            build_segmenter(backbone, num_classes=2, backbone_style=style)


@every_backbone_costly
def test_batch_norm_does_what_its_mode_says(strided):
    name, network = strided[0], strided[1].network
    images = np.random.default_rng(1).normal(0, 1, (2, 33, 49, 3)).astype(np.float32)
    inference = network(images)["stage5"].numpy()
    trainable = {}
    for mode in BATCH_NORM_MODES:
        other = backbone_of(name, 32, mode).network
        load_by_name(other, network)
        close = {"rtol": 1e-5, "atol": 1e-5 * np.abs(inference).max()}
        np.testing.assert_allclose(other(images)["stage5"], inference, **close)
        before = other.get_weights()
        trained = other(images, training=True)["stage5"].numpy()
        follows = any((new != old).any() for new, old in zip(other.get_weights(), before))
        trainable[mode] = {v.name.split("/")[-1] for v in other.trainable_variables}
        assert momenta(other) == momenta(network)
        if mode == "frozen":
            np.testing.assert_allclose(trained, inference, **close)
            assert not follows
        else:
            assert np.abs(trained - inference).max() > 1e-3
            assert follows
    assert {"gamma:0", "beta:0"} <= trainable["train"]
    assert not {"gamma:0", "beta:0"} & (trainable["frozen"] | trainable["frozen_affine"])


def momenta(network):
    return {layer.momentum for layer in network.layers if hasattr(layer, "momentum")}


def load_by_name(target, source):
    """Batch norm of another mode lists the same weights in another order."""
    values = {weight.name: weight.numpy() for weight in source.weights}
    assert values.keys() == {weight.name for weight in target.weights}
    for weight in target.weights:
        weight.assign(values[weight.name])


@once("strided", [p for p in backbones(is_not_heavy) if p.id in registry.IMAGENET])
def test_keras_weights_file_makes_the_features_of_keras_own_network(strided, tmp_path):
    name, parts = strided
    build = registry.load(registry.IMAGENET, name)
    own = build(include_top=False, weights=None)
    randomize(own, seed=5)
    own.save_weights(tmp_path / "weights.h5")
    before = parts.network.get_weights()
    parts.network.load_weights(tmp_path / "weights.h5", by_name=True)
    # A size that every stride divides: else a pool of Keras may leave pixels out.
    images = picture(64, 96)
    # Keras has a network's colours in the network's module.
    expected = own(sys.modules[build.__module__].preprocess_input(images.copy())).numpy()
    features = parts.network(Normalize(parts.normalization)(images))["stage5"]
    parts.network.set_weights(before)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


@every_backbone
def test_stored_statistics_follow_faster_than_keras_default(strided):
    _, parts = strided
    # Keras' 0.99 needs hundreds of steps to forget where it started; PyTorch's is 0.9.
    assert max(momenta(parts.network)) < 0.98


# Parameter counts.


def resnet_parameters(blocks):
    """Weights of Keras' ResNet without its classifier: convolutions have biases."""

    def convolution(kernel, inputs, outputs):
        bias, batch_norm = outputs, 4 * outputs
        return kernel * kernel * inputs * outputs + bias + batch_norm

    total, inputs = convolution(7, 3, 64), 64
    for count, filters in zip(blocks, (64, 128, 256, 512)):
        total += convolution(1, inputs, 4 * filters)  # The first block's shortcut.
        for _ in range(count):
            total += convolution(1, inputs, filters)
            total += convolution(3, filters, filters)
            total += convolution(1, filters, 4 * filters)
            inputs = 4 * filters
    return total


def densenet_parameters(blocks):
    """Weights of DenseNet without its classifier: no biases, batch norm before convolutions."""
    channels, growth = 64, 32
    total = 7 * 7 * 3 * channels + 4 * channels
    for stage, count in enumerate(blocks):
        if stage:  # The transition halves the channels.
            total += 4 * channels + channels * (channels // 2)
            channels //= 2
        for _ in range(count):
            total += 4 * channels + channels * 4 * growth
            total += 4 * (4 * growth) + 3 * 3 * (4 * growth) * growth
            channels += growth
    return total + 4 * channels


@pytest.mark.slow
def test_resnet101_deeplabv2_has_exactly_the_weights_of_the_paper():
    segmenter = build_segmenter("resnet101", "deeplabv2", num_classes=21)
    backbone, head = resnet_parameters((3, 4, 23, 3)), 4 * (3 * 3 * 2048 * 21 + 21)
    assert backbone == 42_658_176  # As Keras' documentation has it.
    assert segmenter.get_layer("resnet101").count_params() == backbone
    assert sum(int(tf.size(v)) for v in head_variables(segmenter)) == head
    assert segmenter.count_params() == backbone + head == 44_206_548


#: Those of Keras' networks without their classifiers.
PARAMETERS = {
    "resnet50": resnet_parameters((3, 4, 6, 3)),
    "resnet101": resnet_parameters((3, 4, 23, 3)),
    "densenet121": densenet_parameters((6, 12, 24, 16)),
    "densenet169": densenet_parameters((6, 12, 32, 32)),
}


def test_parameter_counts_by_hand_are_those_of_kerass_documentation():
    # The documented total without the classifier, 1000 x (inputs + 1).
    assert PARAMETERS["densenet121"] == 8_062_504 - 1000 * (1024 + 1) == 7_037_504
    assert PARAMETERS["densenet169"] == 14_307_880 - 1000 * (1664 + 1) == 12_642_880
    assert PARAMETERS["resnet50"] == 25_636_712 - 1000 * (2048 + 1)


@every_backbone
def test_backbone_has_exactly_the_weights_of_its_layers(strided):
    name, parts = strided
    if name in PARAMETERS:
        assert parts.network.count_params() == PARAMETERS[name]


def test_small_has_about_two_million_weights():
    assert 1.7e6 < backbone_of("small", 32).network.count_params() < 2.3e6


@pytest.mark.slow
def test_compiled_network_with_folded_norms_equals_the_eager_one():
    """TensorFlow fuses operations when it compiles, and may not make a cycle of them."""
    network = build_segmenter(
        "resnet50",
        num_classes=3,
        batch_norm="frozen",
        backbone_style="deeplab",
        head_dilations=(1,),
    )
    images = tf.random.stateless_uniform([1, 33, 33, 3], (1, 2), maxval=255.0)

    def outputs_and_gradient(images):
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = tf.reduce_sum(logits**2)
        first = network.trainable_variables[0]
        return network(images, training=False), logits, tape.gradient(loss, first)

    compiled = tf.function(outputs_and_gradient)(images)
    for value, wanted in zip(compiled, outputs_and_gradient(images), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    np.testing.assert_allclose(tf.function(network)(images), compiled[0], rtol=1e-4, atol=1e-4)
