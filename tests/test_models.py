"""Every segmenter by one routine, and parameter counts."""

import functools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import randomize

from tf_advseg import registry
from tf_advseg.errors import InputError
from tf_advseg.models.segmenter import build_segmenter, head_variables, padding_color

CLASSES = 5
#: Built and saved in ten seconds each; it is ResNet-50 with more blocks.
SLOW = ("resnet101",)

every_pair = pytest.mark.parametrize(
    ("backbone", "head"),
    [
        pytest.param(backbone, head, marks=[pytest.mark.slow] if backbone in SLOW else [])
        for backbone in registry.BACKBONES
        for head in registry.HEADS
    ],
)


@functools.cache
def segmenter_of(backbone, head, precision="float32"):
    segmenter = build_segmenter(backbone, head, num_classes=CLASSES, precision=precision)
    randomize(segmenter)
    return segmenter


@pytest.fixture(scope="module", autouse=True)
def _seed_and_free():
    random.seed(0)
    tf.random.set_seed(0)
    yield
    segmenter_of.cache_clear()


def picture(height, width, batch=1, seed=0):
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 255, (batch, height, width, 3)).astype(np.float32)


@every_pair
def test_logits_have_the_size_of_the_image(backbone, head):
    segmenter = segmenter_of(backbone, head)
    assert segmenter.output_shape == (None, None, None, CLASSES)
    for height, width in ((33, 47), (1, 1), (40, 25)):
        logits = segmenter(picture(height, width, batch=2))
        assert logits.shape == (2, height, width, CLASSES)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()
    # Not the same everywhere, nor the same for both images.
    assert logits.numpy().std(axis=(0, 1, 2)).min() > 0


@every_pair
def test_gradients_reach_every_weight(backbone, head):
    segmenter = segmenter_of(backbone, head)
    with tf.GradientTape() as tape:
        # The population's statistics: under a batch's own, a bias before batch norm has none.
        logits = segmenter(picture(49, 65, batch=2), training=False)
        loss = tf.reduce_mean(tf.nn.softmax(logits)[..., 0])
    gradients = tape.gradient(loss, segmenter.trainable_variables)
    for variable, gradient in zip(segmenter.trainable_variables, gradients):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all(), variable.name
        assert np.any(gradient), variable.name


@every_pair
def test_head_variables_are_those_outside_of_the_backbone(backbone, head):
    segmenter = segmenter_of(backbone, head)
    in_backbone = {v.ref() for v in segmenter.get_layer(backbone).trainable_variables}
    everything = {v.ref() for v in segmenter.trainable_variables}
    in_head = {v.ref() for v in head_variables(segmenter)}
    assert in_head
    assert in_head == everything - in_backbone


@every_pair
def test_saved_segmenter_predicts_the_same(backbone, head, tmp_path):
    segmenter = segmenter_of(backbone, head)
    images = picture(33, 47)
    expected = segmenter(images).numpy()
    segmenter.save(tmp_path / "segmenter.keras")
    reloaded = keras.models.load_model(tmp_path / "segmenter.keras", compile=False)
    np.testing.assert_array_equal(reloaded(images), expected)
    assert padding_color(reloaded) == padding_color(segmenter)
    # The same layers take the weights alone, too.
    segmenter.save_weights(tmp_path / "segmenter.weights.h5")
    randomize(reloaded, seed=1)
    reloaded.load_weights(tmp_path / "segmenter.weights.h5")
    for saved, loaded in zip(segmenter.weights, reloaded.weights, strict=True):
        np.testing.assert_array_equal(saved, loaded)


@pytest.mark.parametrize(
    ("backbone", "precision"),
    [("small", "mixed_bfloat16"), ("small", "mixed_float16"), ("resnet50", "mixed_bfloat16")],
)
@pytest.mark.parametrize("head", registry.HEADS)
def test_mixed_precision_keeps_weights_and_logits_in_float32(backbone, head, precision):
    segmenter = segmenter_of(backbone, head, precision)
    assert {v.dtype for v in segmenter.weights} == {tf.float32}
    compute = {layer.compute_dtype for layer in segmenter.get_layer(backbone).layers}
    assert precision.removeprefix("mixed_") in compute
    reference = segmenter_of(backbone, head)
    segmenter.set_weights(reference.get_weights())
    images = picture(33, 47)
    logits, expected = segmenter(images), reference(images).numpy()
    assert logits.dtype == tf.float32
    # bfloat16 keeps 8 bits of each of the many factors.
    assert np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()
    assert np.abs(logits - expected).max() > 0


def test_global_policy_is_as_before_building():
    before = keras.mixed_precision.global_policy().name
    build_segmenter("small", num_classes=2, precision="mixed_bfloat16")
    assert keras.mixed_precision.global_policy().name == before
    with pytest.raises(InputError, match="small"):
        build_segmenter("none such", num_classes=2, precision="mixed_bfloat16")
    assert keras.mixed_precision.global_policy().name == before


def test_unknown_parts_are_refused_with_the_known_names():
    with pytest.raises(InputError, match=r"'other'.*resnet101"):
        build_segmenter("other", num_classes=2)
    with pytest.raises(InputError, match=r"'other'.*deeplabv2"):
        build_segmenter("small", "other", num_classes=2)


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


def test_resnet101_deeplabv2_has_exactly_the_weights_of_the_paper():
    segmenter = build_segmenter("resnet101", "deeplabv2", num_classes=21)
    backbone, head = resnet_parameters((3, 4, 23, 3)), 4 * (3 * 3 * 2048 * 21 + 21)
    assert backbone == 42_658_176  # As Keras' documentation has it.
    assert segmenter.get_layer("resnet101").count_params() == backbone
    assert sum(int(tf.size(v)) for v in head_variables(segmenter)) == head
    assert segmenter.count_params() == backbone + head == 44_206_548


def test_resnet50_has_exactly_the_weights_of_its_layers():
    segmenter = segmenter_of("resnet50", "deeplabv2")
    assert segmenter.get_layer("resnet50").count_params() == resnet_parameters((3, 4, 6, 3))


def test_small_has_about_two_million_weights():
    segmenter = segmenter_of("small", "deeplabv2")
    assert 1.7e6 < segmenter.get_layer("small").count_params() < 2.3e6


def test_deeplabv2_head_sums_four_dilated_convolutions():
    stage5 = keras.Input((None, None, 8))
    head = registry.load(registry.HEADS, "deeplabv2")
    network = keras.Model(stage5, head({"stage5": stage5}, 2))
    randomize(network)
    features = np.random.default_rng(0).normal(size=(1, 53, 60, 8)).astype(np.float32)
    expected = np.zeros((1, 53, 60, 2))
    for branch, dilation in zip(network.layers[1:5], (6, 12, 18, 24)):
        kernel, bias = (v.numpy() for v in branch.weights)
        padded = np.pad(features, ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0)))
        for row in range(3):
            for column in range(3):
                top, left = row * dilation, column * dilation
                expected += padded[:, top : top + 53, left : left + 60] @ kernel[row, column]
        expected += bias
    np.testing.assert_allclose(network(features), expected, atol=1e-4)
