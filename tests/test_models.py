"""Every registered backbone and head by one routine, and parameter counts.

A new part is tested when its registry line is there. Networks are built once for each set of tests.
"""

import random
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import randomize

from tf_advseg import registry
from tf_advseg.errors import InputError
from tf_advseg.models.backbones import BackboneOptions
from tf_advseg.models.conventions import BATCH_NORM_MODES, RESNET_STYLES
from tf_advseg.models.heads import HeadOptions
from tf_advseg.models.layers import Normalize
from tf_advseg.models.segmenter import build_segmenter, head_variables, padding_color

CLASSES = 5
#: Trained from scratch in seconds: whatever is tested is tested in the fast suite.
LIGHT = ("small",)
#: Two others with more blocks: whatever is tested is slow.
HEAVY = ("resnet101", "densenet169")
#: Level -> input pixels in one step of the strided network's grid.
STRIDES = {"stage2": 4, "stage3": 8, "stage4": 16, "stage5": 32}
#: 64 k + 1: every "same" convolution of stride 2 is then centred on every second pixel.
CENTRED_SIZE = (65, 129)


def backbones(fast):
    """All of them, those for which `fast` is false as slow tests."""
    return [
        pytest.param(name, marks=[] if fast(name) else [pytest.mark.slow], id=name)
        for name in registry.BACKBONES
    ]


def pairs(fast):
    return [
        pytest.param((*backbone.values, head), marks=backbone.marks, id=f"{backbone.id}-{head}")
        for backbone in backbones(fast)
        for head in registry.HEADS
    ]


def once(name, values):
    """Parametrizes a fixture of the module: tests with one value run together."""
    return pytest.mark.parametrize(name, values, indirect=True, scope="module")


def is_light(name):
    return name in LIGHT


def is_not_heavy(name):
    return name not in HEAVY


every_pair = once("pair", pairs(is_not_heavy))
every_pair_costly = once("pair", pairs(is_light))
every_backbone = once("strided", backbones(is_not_heavy))
every_backbone_costly = once("strided", backbones(is_light))


@pytest.fixture(scope="module", autouse=True)
def _seed():
    random.seed(0)
    tf.random.set_seed(0)


@pytest.fixture(scope="module")
def pair(request):
    """A backbone's and a head's name, and their segmenter."""
    backbone, head = request.param
    segmenter = build_segmenter(backbone, head, num_classes=CLASSES)
    randomize(segmenter)
    return backbone, head, segmenter


@pytest.fixture(scope="module")
def strided(request):
    """A backbone's name, and its parts at stride 32."""
    parts = backbone_of(request.param, 32)
    randomize(parts.network)
    return request.param, parts


def backbone_of(name, output_stride, batch_norm="train"):
    return registry.load(registry.BACKBONES, name)(BackboneOptions(output_stride, batch_norm))


def picture(height, width, batch=1, seed=0):
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 255, (batch, height, width, 3)).astype(np.float32)


def loss_and_gradients(segmenter, images, training):
    with tf.GradientTape() as tape:
        logits = segmenter(images, training=training)
        loss = tf.reduce_mean(tf.nn.softmax(logits)[..., 0])
    return loss, tape.gradient(loss, segmenter.trainable_variables)


# Segmenters.


@every_pair
def test_logits_have_the_size_of_the_image(pair):
    *_, segmenter = pair
    assert segmenter.output_shape == (None, None, None, CLASSES)
    for height, width in ((1, 1), (33, 49), (65, 97), (40, 25)):
        logits = segmenter(picture(height, width, batch=2))
        assert logits.shape == (2, height, width, CLASSES)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()
    # Not the same everywhere, nor the same for both images.
    assert logits.numpy().std(axis=(0, 1, 2)).min() > 0


@every_pair
def test_gradients_reach_every_weight(pair):
    *_, segmenter = pair
    # The population's statistics: under a batch's own, a bias before batch norm has no gradient.
    _, gradients = loss_and_gradients(segmenter, picture(33, 49, batch=2), training=False)
    for variable, gradient in zip(segmenter.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all(), variable.name
        assert np.any(gradient), variable.name


@every_pair
def test_head_variables_are_those_outside_of_the_backbone(pair):
    backbone, _, segmenter = pair
    in_backbone = {v.ref() for v in segmenter.get_layer(backbone).trainable_variables}
    everything = {v.ref() for v in segmenter.trainable_variables}
    in_head = {v.ref() for v in head_variables(segmenter)}
    assert in_head
    assert in_head == everything - in_backbone


@every_pair_costly
def test_training_with_one_small_image_stays_finite(pair):
    *_, segmenter = pair
    before = segmenter.get_weights()
    loss, gradients = loss_and_gradients(segmenter, picture(17, 9), training=True)
    assert np.isfinite(loss)
    for variable, gradient in zip(segmenter.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.name
    for variable in segmenter.weights:
        assert np.isfinite(variable).all(), variable.name
    segmenter.set_weights(before)


@every_pair_costly
def test_saved_segmenter_predicts_the_same(pair, tmp_path):
    *_, segmenter = pair
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


@every_pair_costly
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_weights_and_logits_in_float32(pair, precision, tmp_path):
    backbone, head, reference = pair
    if precision == "mixed_float16" and not is_light(backbone):
        pytest.skip("float16 is slow on a CPU")
    segmenter = build_segmenter(backbone, head, num_classes=CLASSES, precision=precision)
    assert {v.dtype for v in segmenter.weights} == {tf.float32}
    compute = {layer.compute_dtype for layer in segmenter.get_layer(backbone).layers}
    assert precision.removeprefix("mixed_") in compute
    segmenter.set_weights(reference.get_weights())
    images = picture(33, 47)
    logits, expected = segmenter(images), reference(images).numpy()
    assert logits.dtype == tf.float32
    # bfloat16 keeps 8 bits of each of the many factors.
    assert np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()
    assert np.abs(logits - expected).max() > 0
    loss, gradients = loss_and_gradients(segmenter, picture(33, 49), training=True)
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@every_pair_costly
@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_exported_segmenter_predicts_the_same(pair, precision, tmp_path):
    backbone, head, segmenter = pair
    if precision != "float32":
        segmenter = build_segmenter(backbone, head, num_classes=CLASSES, precision=precision)
        segmenter.set_weights(pair[2].get_weights())
    # Not `save`: Keras then traces every layer of its own, for half a minute.
    segmenter.export(tmp_path / "exported")
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    for height, width in ((33, 47), (65, 16)):
        images = tf.constant(picture(height, width))
        expected = segmenter(images).numpy()
        # A graph may be rewritten, so that sums are rounded in another order.
        tolerance = 1e-4 if precision == "float32" else 0.05
        difference = np.abs(exported.serve(images) - expected).max()
        assert difference <= tolerance * np.abs(expected).max()


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


# Backbones.


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


@every_backbone
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
        np.testing.assert_allclose(other(images)["stage5"], inference, rtol=1e-5, atol=1e-5)
        before = other.get_weights()
        trained = other(images, training=True)["stage5"].numpy()
        follows = any((new != old).any() for new, old in zip(other.get_weights(), before))
        trainable[mode] = {v.name.split("/")[-1] for v in other.trainable_variables}
        assert momenta(other) == momenta(network)
        if mode == "frozen":
            np.testing.assert_allclose(trained, inference, rtol=1e-5, atol=1e-5)
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


# Heads. Each has a file of tests of its own, but this one.


def test_deeplabv2_head_sums_four_dilated_convolutions():
    stage5 = keras.Input((None, None, 8))
    head = registry.load(registry.HEADS, "deeplabv2")
    network = keras.Model(stage5, head({"stage5": stage5}, 2, HeadOptions()))
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


def test_head_takes_its_dilations_from_the_options():
    stage5 = keras.Input((None, None, 8))
    head = registry.load(registry.HEADS, "deeplabv2")
    one = keras.Model(stage5, head({"stage5": stage5}, 2, HeadOptions(dilations=(3,))))
    assert [layer.dilation_rate for layer in one.layers[1:]] == [(3, 3)]
    two = keras.Model(stage5, head({"stage5": stage5}, 2, HeadOptions(dilations=(6, 12))))
    assert [layer.dilation_rate[0] for layer in two.layers[1:3]] == [6, 12]
