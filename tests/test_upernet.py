"""The UPerNet head against PyTorch and by hand, and its adaptive pooling."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import randomize

from tf_advseg.models.heads import HEAD_PREFIX, HeadOptions
from tf_advseg.models.layers import AdaptiveAveragePooling2D
from tf_advseg.models.normalization import PooledBatchNormalization
from tf_advseg.models.segmenter import build_segmenter, head_variables
from tf_advseg.models.upernet import BINS, upernet

#: Height, width and bins: multiples, not multiples, and fewer pixels than bins.
SHAPES = [(6, 12, 6), (41, 41, 6), (7, 5, 3), (5, 4, 6), (1, 1, 6), (2, 9, 2), (13, 8, 1)]


@pytest.fixture(scope="module", autouse=True)
def _seed():
    random.seed(0)
    tf.random.set_seed(0)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_adaptive_pooling_by_hand():
    values = tf.reshape(tf.constant([1.0, 2, 4, 8, 16]), [1, 1, 5, 1])
    # Pixels 0-1, 1-3 and 3-4: bins overlap where 3 does not divide 5.
    expected = [3 / 2, 14 / 3, 12]
    np.testing.assert_allclose(AdaptiveAveragePooling2D(3)(values)[0, 2, :, 0], expected)
    # Pixels 0; 0-1; 1; 2; 2-3? No: 3 * 5 / 6 = 2.5, so 2 and 3 meet in bin 3; and so on.
    expected = [1, 1.5, 3, 6, 12, 16]
    np.testing.assert_allclose(AdaptiveAveragePooling2D(6)(values)[0, 0, :, 0], expected)
    square = tf.reshape(tf.range(16.0), [1, 4, 4, 1])
    pooled = AdaptiveAveragePooling2D(2)(square)
    assert pooled.numpy()[0, :, :, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert AdaptiveAveragePooling2D(1)(square).numpy().item() == 7.5


def averaged(values, bins):
    """Bin by bin, in float64."""
    _, height, width, _ = values.shape
    pooled = np.zeros((values.shape[0], bins, bins, values.shape[3]))
    for row in range(bins):
        for column in range(bins):
            top, left = int(np.floor(row * height / bins)), int(np.floor(column * width / bins))
            bottom = int(np.ceil((row + 1) * height / bins))
            right = int(np.ceil((column + 1) * width / bins))
            window = values[:, top:bottom, left:right].astype(np.float64)
            pooled[:, row, column] = window.mean(axis=(1, 2))
    return pooled


@pytest.mark.parametrize(("height", "width", "bins"), SHAPES)
def test_adaptive_pooling_averages_each_bin(height, width, bins):
    values = noise(2, height, width, 3)
    pooled = AdaptiveAveragePooling2D(bins)(values)
    assert pooled.shape == (2, bins, bins, 3)
    np.testing.assert_allclose(pooled, averaged(values, bins), atol=1e-6)


@pytest.mark.parametrize(("height", "width", "bins"), SHAPES)
def test_adaptive_pooling_and_its_gradient_are_those_of_pytorch(height, width, bins):
    torch = pytest.importorskip("torch")
    values, weights = noise(2, height, width, 3), noise(2, bins, bins, 3, seed=1)
    ours = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(ours)
        pooled = AdaptiveAveragePooling2D(bins)(ours)
        loss = tf.reduce_sum(pooled * weights)
    theirs = torch.tensor(values.transpose(0, 3, 1, 2), requires_grad=True)
    expected = torch.nn.AdaptiveAvgPool2d(bins)(theirs)
    (expected * torch.tensor(weights.transpose(0, 3, 1, 2))).sum().backward()
    np.testing.assert_allclose(pooled, expected.detach().numpy().transpose(0, 2, 3, 1), atol=1e-6)
    gradient = theirs.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(tape.gradient(loss, ours), gradient, atol=1e-5)


def test_adaptive_pooling_takes_any_size_in_one_graph_and_comes_back_from_its_configuration():
    layer = AdaptiveAveragePooling2D(3, name="pool")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    image = keras.Input((None, None, 2))
    assert again(image).shape[1:] == (3, 3, 2)
    network = tf.function(
        keras.Model(image, again(image)), input_signature=[tf.TensorSpec([None, None, None, 2])]
    )
    for height, width in ((1, 1), (7, 5), (40, 3)):
        values = noise(2, height, width, 2)
        np.testing.assert_allclose(network(values), averaged(values, 3), atol=1e-6)


def test_adaptive_pooling_sums_in_float32_under_another_policy():
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        layer = AdaptiveAveragePooling2D(1)
    finally:
        keras.mixed_precision.set_global_policy(before)
    values = np.ones((1, 60, 60, 1), np.float32)
    values[0, 0, 0] = 37
    # 1 + 36 / 3600: bfloat16 has 1 and 1.0078, but no 1.01.
    pooled = layer(tf.cast(values, tf.bfloat16))
    assert pooled.dtype == tf.float32
    np.testing.assert_allclose(pooled.numpy().item(), 1.01, rtol=1e-6)
    assert layer(np.full((1, 2, 2, 1), 1.01, np.float32)).numpy().item() == np.float32(1.01)


CHANNELS = {"stage2": 5, "stage3": 6, "stage4": 7, "stage5": 280}
SIZES = {"stage2": (17, 25), "stage3": (9, 13), "stage4": (5, 7), "stage5": (5, 7)}


def head_network(num_classes=3, align_corners=False, channels=CHANNELS):
    features = {name: keras.Input((None, None, count)) for name, count in channels.items()}
    options = HeadOptions(align_corners=align_corners)
    network = keras.Model(features, upernet(features, num_classes, options))
    randomize(network)
    return network


def levels(batch=2):
    return {name: noise(batch, *SIZES[name], count) for name, count in CHANNELS.items()}


@pytest.mark.parametrize("align_corners", [False, True])
def test_head_is_that_of_pytorch(align_corners):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    network = head_network(align_corners=align_corners)

    def weight(name):
        kernel = network.get_layer(f"{HEAD_PREFIX}{name}").kernel.numpy()
        return torch.tensor(kernel.transpose(3, 2, 0, 1))

    def convolution(x, name):
        kernel = weight(f"{name}_conv")
        x = functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        norm = network.get_layer(f"{HEAD_PREFIX}{name}_bn")
        gamma, beta, mean, variance = (torch.tensor(value.numpy()) for value in norm.weights)
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5).relu()

    def resize(x, like):
        return functional.interpolate(
            x, size=like.shape[2:], mode="bilinear", align_corners=align_corners
        )

    ours = levels()
    theirs = {name: torch.tensor(level.transpose(0, 3, 1, 2)) for name, level in ours.items()}
    top = theirs["stage5"]
    pooled = [top]
    for bins in (1, 2, 3, 6):
        bin_map = functional.adaptive_avg_pool2d(top, bins)
        pooled.append(resize(convolution(bin_map, f"pool{bins}"), top))
    x = convolution(torch.cat(pooled, 1), "stage5")
    outputs = [x]
    for name in ("stage4", "stage3", "stage2"):
        lateral = convolution(theirs[name], f"{name}_lateral")
        x = lateral + resize(x, lateral)
        outputs.append(convolution(x, name))
    fused = torch.cat([resize(output, outputs[-1]) for output in outputs], 1)
    bias = torch.tensor(network.get_layer(f"{HEAD_PREFIX}classifier").bias.numpy())
    expected = functional.conv2d(convolution(fused, "fuse"), weight("classifier"), bias)
    logits = network(ours).numpy()
    assert logits.shape == (2, *SIZES["stage2"], 3)
    expected = expected.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def upernet_parameters(stages, channels, classes):
    """All of the head's weights: convolutions without bias, batch norm of four to a channel."""
    *finer, last = stages

    def convolution(kernel, inputs):
        return kernel * kernel * inputs * channels + 4 * channels

    total = 4 * convolution(1, last)  # The four bins.
    total += convolution(3, last + 4 * channels)
    total += sum(convolution(1, inputs) + convolution(3, channels) for inputs in finer)
    total += convolution(3, 4 * channels)
    return total + channels * classes + classes


@pytest.mark.parametrize(
    ("stages", "channels"),
    [
        ((256, 512, 1024, 2048), 512),  # ResNet: the paper's 512.
        ((256, 512, 1024, 1024), 256),  # DenseNet-121
        ((48, 96, 128, 192), 64),  # small: a quarter would be 48.
        ((8, 8, 8, 4096), 512),
    ],
)
def test_head_has_a_quarter_of_the_channels_of_stage5_within_bounds(stages, channels):
    network = head_network(21, channels=dict(zip(CHANNELS, stages)))
    assert network.count_params() == upernet_parameters(stages, channels, 21)


def test_whole_networks_have_exactly_the_weights_of_their_layers():
    # 4 (192 64) + 9 (192 + 256) 64 + (48 + 96 + 128) 64 + 3 (9 64 64) + 9 256 64 in kernels, 12
    # batch norms of 4 x 64, and 64 x 21 + 21 in the classifier.
    by_hand = 49_152 + 258_048 + 17_408 + 110_592 + 147_456 + 12 * 256 + 1_365
    assert by_hand == upernet_parameters((48, 96, 128, 192), 64, 21) == 587_093
    small = build_segmenter("small", "upernet", num_classes=21)
    assert small.count_params() == small.get_layer("small").count_params() + by_hand
    assert sum(int(tf.size(v)) for v in head_variables(small)) == by_hand - 12 * 2 * 64
    # Keras' DenseNet-121 has 7,037,504, and ResNet-101 42,658,176.
    stages = (256, 512, 1024, 1024)
    assert 7_037_504 + upernet_parameters(stages, 256, 21) == 17_409_877
    stages = (256, 512, 1024, 2048)
    assert 42_658_176 + upernet_parameters(stages, 512, 21) == 83_194_773


def test_every_layer_is_named_as_one_of_the_head():
    layers = [x for x in head_network().layers if not isinstance(x, keras.layers.InputLayer)]
    assert all(layer.name.startswith(HEAD_PREFIX) for layer in layers)


def test_classifier_starts_near_zero():
    kernel = head_network(40).get_layer(f"{HEAD_PREFIX}classifier").kernel.numpy()
    assert 0.009 < kernel.std() < 0.011
    assert abs(kernel.mean()) < 0.001


def test_sums_of_maps_are_right_in_mixed_precision():
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = head_network()
    finally:
        keras.mixed_precision.set_global_policy(before)
    reference = head_network()
    mixed.set_weights(reference.get_weights())
    features = levels()
    logits, expected = tf.cast(mixed(features), tf.float32), reference(features).numpy()
    assert mixed.get_layer(f"{HEAD_PREFIX}stage2_sum").output.dtype == "bfloat16"
    difference = np.abs(logits - expected).max()
    assert 0 < difference < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("align_corners", [False, True])
def test_one_image_trains_every_branch_and_leaves_sane_statistics(align_corners, compiled):
    network = head_network(align_corners=align_corners)
    optimizer = keras.optimizers.SGD(0.01)
    lone = network.get_layer(f"{HEAD_PREFIX}pool1_bn")
    before = [v.numpy() for v in (lone.moving_mean, lone.moving_variance)]

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network(levels(batch=1), training=True) ** 2)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables))
        return loss, gradients

    step = tf.function(step) if compiled else step
    for _ in range(3):
        loss, gradients = step()
        assert np.isfinite(loss)
        for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
            assert np.isfinite(gradient).all(), variable.name
            assert np.any(gradient), variable.name
    # One value has no variance to follow; of the others, the statistics do follow the batch.
    np.testing.assert_array_equal(lone.moving_mean, before[0])
    np.testing.assert_array_equal(lone.moving_variance, before[1])
    for bins in BINS[1:]:
        variance = network.get_layer(f"{HEAD_PREFIX}pool{bins}_bn").moving_variance
        assert 0.02 < np.min(variance) < 1.5


def test_pooled_batch_norm_is_batch_norm_where_there_are_two_values():
    values = noise(2, 1, 1, 3)
    pooled, plain = PooledBatchNormalization(), keras.layers.BatchNormalization()
    for training in (True, False, None):
        np.testing.assert_array_equal(
            pooled(values, training=training), plain(values, training=training)
        )
    for ours, theirs in zip(pooled.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    pooled.trainable = False
    np.testing.assert_array_equal(pooled(values, training=True), pooled(values, training=False))
