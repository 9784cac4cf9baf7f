"""The discriminator and spectral normalisation."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.models.discriminator import build_discriminator


@pytest.fixture(scope="module", autouse=True)
def _seed():
    random.seed(0)
    tf.random.set_seed(0)


def maps(height, width, classes=3, batch=1, seed=0):
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(classes), (batch, height, width)).astype(np.float32)


@pytest.fixture(scope="module")
def discriminator():
    keras.utils.set_random_seed(0)
    return build_discriminator(3)


@pytest.fixture(scope="module")
def normalized():
    """A discriminator with spectral normalisation after a few training calls."""
    keras.utils.set_random_seed(0)
    network = build_discriminator(3, spectral_norm=True)
    call = tf.function(lambda x: network(x, training=True))
    for seed in range(15):
        call(maps(32, 32, seed=seed))
    return network


def kernels(network):
    return [v.numpy() for v in network.trainable_variables if v.shape.rank == 4]


def test_discriminator_has_the_papers_weights_at_21_classes():
    by_hand = sum(
        4 * 4 * inputs * outputs + outputs
        for inputs, outputs in ((21, 64), (64, 128), (128, 256), (256, 512), (512, 1))
    )
    assert by_hand == 2_783_169
    assert build_discriminator(21).count_params() == by_hand


def test_narrower_discriminator_keeps_the_proportions():
    network = build_discriminator(3, channels=6)
    assert [k.shape[-2:] for k in kernels(network)] == [
        (3, 6),
        (6, 12),
        (12, 24),
        (24, 48),
        (48, 1),
    ]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 47), (64, 96), (321, 65)])
def test_logits_are_upsampled_from_a_grid_of_stride_32(discriminator, size):
    logits = discriminator(maps(*size))
    assert logits.shape == (1, *size, 1)
    assert logits.dtype == tf.float32
    grid = keras.Model(discriminator.input, discriminator.get_layer("conv5").output)(maps(*size))
    assert grid.shape == (1, -(-size[0] // 32), -(-size[1] // 32), 1)
    np.testing.assert_allclose(logits, tf.image.resize(grid, size), atol=1e-6)


def test_receptive_field_is_94_pixels(discriminator):
    inner = keras.Model(discriminator.input, discriminator.get_layer("conv5").output)
    inputs = tf.constant(maps(256, 256))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        cell = inner(inputs)[0, 4, 4, 0]
    reached = np.abs(tape.gradient(cell, inputs).numpy()).sum((0, 3))
    rows, columns = np.nonzero(reached.sum(1))[0], np.nonzero(reached.sum(0))[0]
    # 4 + 3 * (2 + 4 + 8 + 16).
    assert rows[-1] - rows[0] + 1 == columns[-1] - columns[0] + 1 == 94


def test_activations_leak_a_fifth_after_all_but_the_last(discriminator):
    leaky = [x for x in discriminator.layers if isinstance(x, keras.layers.LeakyReLU)]
    assert [float(layer(tf.constant(-1.0))) for layer in leaky] == pytest.approx([-0.2] * 4)
    assert discriminator.layers[-2].name == "conv5"
    assert discriminator.layers[-2].activation is keras.activations.linear


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_mixed_precision_keeps_weights_and_logits_in_float32(precision, spectral_norm):
    before = keras.mixed_precision.global_policy().name
    network = build_discriminator(3, precision=precision, spectral_norm=spectral_norm)
    assert keras.mixed_precision.global_policy().name == before
    with tf.GradientTape() as tape:
        logits = network(maps(33, 47), training=True)
        loss = tf.reduce_sum(logits)  # Of a mean, float16 would lose small gradients.
    assert logits.dtype == tf.float32
    assert {v.dtype for v in network.weights} == {tf.float32}
    convolution = network.get_layer("conv2")
    convolution = convolution.layer if spectral_norm else convolution
    assert convolution.compute_dtype == precision.removeprefix("mixed_")
    for gradient in tape.gradient(loss, network.trainable_variables):
        assert np.any(gradient)
        assert np.isfinite(gradient).all()


def test_precision_changes_the_logits_only_by_rounding(discriminator):
    rounded = build_discriminator(3, precision="mixed_bfloat16")
    rounded.set_weights(discriminator.get_weights())
    expected = discriminator(maps(64, 64)).numpy()
    difference = np.abs(rounded(maps(64, 64)).numpy() - expected).max()
    assert 0 < difference < 0.05 * np.abs(expected).max() + 1e-3


def test_spectral_norm_brings_the_largest_singular_values_to_one(normalized):
    assert len(kernels(normalized)) == 5
    for kernel in kernels(normalized):
        values = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)
        assert values[0] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_spectral_norm_of_mixed_precision_is_computed_in_float32(precision, normalized):
    network = build_discriminator(3, spectral_norm=True, precision=precision)
    network.set_weights(normalized.get_weights())
    for vector in network.non_trainable_variables:
        vector.assign(vector * 1e-4)  # Its squares are zero in float16.
    network(maps(32, 32), training=True)
    normalized_again = keras.models.clone_model(normalized)
    normalized_again.set_weights(normalized.get_weights())
    normalized_again(maps(32, 32), training=True)
    for kernel, expected in zip(kernels(network), kernels(normalized_again), strict=True):
        np.testing.assert_allclose(kernel, expected, rtol=1e-5, atol=1e-7)


def test_without_spectral_norm_kernels_are_left_alone(discriminator):
    before = kernels(discriminator)
    discriminator(maps(32, 32), training=True)
    for old, new in zip(before, kernels(discriminator)):
        np.testing.assert_array_equal(old, new)


def test_spectral_norm_leaves_kernels_alone_outside_of_training(normalized):
    before = kernels(normalized)
    normalized(maps(32, 32), training=False)
    for old, new in zip(before, kernels(normalized)):
        np.testing.assert_array_equal(old, new)


def test_spectral_norm_adds_no_trainable_weights(discriminator, normalized):
    shapes = [v.shape for v in normalized.trainable_variables]
    assert shapes == [v.shape for v in discriminator.trainable_variables]


@pytest.mark.parametrize("which", ["discriminator", "normalized"])
def test_saved_discriminator_judges_the_same(which, request, tmp_path):
    network = request.getfixturevalue(which)
    network.save(tmp_path / "discriminator.keras")
    reloaded = keras.models.load_model(tmp_path / "discriminator.keras", compile=False)
    np.testing.assert_array_equal(reloaded(maps(33, 47)), network(maps(33, 47)))
    # The direction of the largest singular value is kept too: the next step is the same.
    for saved, loaded in zip(network.weights, reloaded.weights, strict=True):
        np.testing.assert_array_equal(saved, loaded)
    network.save_weights(tmp_path / "discriminator.weights.h5")
    fresh = build_discriminator(3, spectral_norm=which == "normalized")
    fresh.load_weights(tmp_path / "discriminator.weights.h5")
    np.testing.assert_array_equal(fresh(maps(33, 47)), network(maps(33, 47)))


def test_two_outputs_give_the_difference_of_true_and_predicted():
    network = build_discriminator(3, outputs=2)
    last = network.get_layer("conv5")
    assert last.kernel.shape == (4, 4, 512, 2)
    last.set_weights([np.zeros(last.kernel.shape), np.array([0.5, 2.0])])
    logits = network(maps(33, 47)).numpy()
    assert logits.shape == (*maps(33, 47).shape[:3], 1)
    np.testing.assert_allclose(logits, 1.5)


@pytest.mark.parametrize(
    ("size", "same", "one", "two"), [(64, 2, 2, 3), (65, 3, 2, 3), (321, 11, 10, 11)]
)
def test_padding_decides_the_size_of_the_last_map(size, same, one, two):
    for padding, expected in (("same", same), ("one", one), ("two", two)):
        network = build_discriminator(3, channels=1, padding=padding)
        inner = keras.Model(network.input, network.get_layer("conv5").output)
        assert inner(tf.zeros([1, size, 64, 3])).shape[1] == expected


def test_aligned_discriminator_puts_the_last_map_at_the_corners():
    network = build_discriminator(3, channels=2, padding="one", align_corners=True)
    inner = keras.Model(network.input, network.get_layer("conv5").output)
    coarse, logits = inner(maps(65, 97)).numpy(), network(maps(65, 97)).numpy()
    assert coarse.shape[1:3] == (2, 3)
    np.testing.assert_allclose(logits[:, ::64, ::48], coarse, rtol=1e-4, atol=1e-7)


def test_pytorchs_initial_weights_are_even_up_to_one_over_the_root_of_the_inputs():
    network = build_discriminator(21, init="torch")
    for name, inputs in (("conv1", 21), ("conv2", 64), ("conv5", 512)):
        bound = (16 * inputs) ** -0.5
        kernel, bias = network.get_layer(name).get_weights()
        assert np.abs(kernel).max() == pytest.approx(bound, rel=0.01)
        assert np.abs(bias).max() <= bound and bias.any()
        # Of an even distribution, the standard deviation is the bound over the root of 3.
        assert kernel.std() == pytest.approx(bound / 3**0.5, rel=0.03)
    glorot = build_discriminator(21).get_layer("conv5").get_weights()
    # Glorot's, of 8192 inputs and 16 outputs.
    assert np.abs(glorot[0]).max() == pytest.approx((6 / 8208) ** 0.5, rel=0.01)
    assert not glorot[1].any()


def test_every_layer_draws_initial_weights_of_its_own():
    first, second = (build_discriminator(3, init="torch") for _ in range(2))
    assert (kernels(first)[0] != kernels(second)[0]).all()


@pytest.mark.parametrize("padding", ["same", "one", "two"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 17)])
def test_maps_of_any_size_work(padding, size):
    network = build_discriminator(3, channels=2, padding=padding)
    assert network(maps(*size)).shape == (1, *size, 1)
