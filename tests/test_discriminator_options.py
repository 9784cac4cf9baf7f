"""Discriminators other than the paper's: that see the image, stride less, or have a second map."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.models.discriminator import build_discriminator, confidence, judge, realness

SIZE = (33, 47)


def inputs(seed=0, size=SIZE):
    """Class maps [1, H, W, 3] and an image [1, H, W, 3]."""
    generator = np.random.default_rng(seed)
    maps = generator.dirichlet(np.ones(3), (1, *size)).astype(np.float32)
    return tf.constant(maps), tf.constant(generator.uniform(0, 255, (1, *size, 3)), tf.float32)


def test_one_that_sees_the_image_answers_to_it_and_to_the_maps():
    network = build_discriminator(3, channels=4, sees_image=True)
    assert network.get_layer("conv1").kernel.shape == (4, 4, 3 + 3, 4)
    maps, image = inputs()
    other_maps, other_image = inputs(1)
    said = judge(network, maps, image)
    assert said.shape == (1, *SIZE, 1) and said.dtype == tf.float32
    assert np.abs(said - judge(network, other_maps, image)).max() > 1e-4
    assert np.abs(said - judge(network, maps, other_image)).max() > 1e-4


def test_one_that_does_not_is_called_on_the_maps_alone():
    network = build_discriminator(3, channels=4)
    maps, image = inputs()
    np.testing.assert_array_equal(judge(network, maps, image), network(maps))


@pytest.mark.parametrize("strides", range(6))
def test_strides_make_the_map_coarser(strides):
    network = build_discriminator(3, channels=2, strides=strides)
    maps, _ = inputs(size=(64, 96))
    grid = keras.Model(network.input, network.get_layer("conv5").output)(maps)
    assert grid.shape[1:3] == (64 // 2**strides, 96 // 2**strides)
    assert network(maps).shape == (1, 64, 96, 1)
    assert network.count_params() == build_discriminator(3, channels=2).count_params()


@pytest.mark.parametrize("outputs", [1, 2])
def test_second_map_comes_last_and_is_the_confidence(outputs):
    network = build_discriminator(3, channels=2, outputs=outputs, confidence_head=True)
    maps, image = inputs()
    raw = keras.Model(network.input, network.get_layer("resize").output)(maps).numpy()
    assert raw.shape[-1] == outputs + 1
    said = judge(network, maps, image)
    assert said.shape == (1, *SIZE, 2)
    true = raw[..., 0] if outputs == 1 else raw[..., 1] - raw[..., 0]
    np.testing.assert_allclose(realness(said), true, atol=1e-6)
    largest = maps.numpy().max(axis=-1)
    odds = raw[..., -1] + np.log(largest / (1 - largest))
    np.testing.assert_allclose(confidence(said), 1 / (1 + np.exp(-odds)), rtol=1e-4)


def test_confidence_is_the_largest_probability_until_it_has_learned():
    network = build_discriminator(3, channels=2, confidence_head=True)
    for weight in network.get_layer("conv5").weights:
        weight.assign(tf.zeros_like(weight))
    maps, image = inputs()
    said = judge(network, maps, image)
    np.testing.assert_allclose(confidence(said), maps.numpy().max(axis=-1), rtol=1e-5)
    scale, shift = network.get_layer("calibration").trainable_weights
    scale.assign(tf.zeros_like(scale))
    shift.assign([np.log(3.0)])
    np.testing.assert_allclose(confidence(judge(network, maps, image)), 0.75, rtol=1e-6)


def test_confidence_in_one_hot_maps_is_finite():
    network = build_discriminator(3, channels=2, confidence_head=True)
    maps = tf.one_hot(tf.zeros((1, *SIZE), tf.int32), 3)
    assert np.isfinite(judge(network, maps, inputs()[1])).all()


@pytest.mark.parametrize("confidence_head", [False, True])
def test_graph_holds_no_operation_that_onnx_lacks(confidence_head):
    network = build_discriminator(3, channels=2, sees_image=True, confidence_head=confidence_head)
    graph = tf.function(network).get_concrete_function(inputs()).graph
    operations = {operation.type for operation in graph.get_operations()}
    assert "Conv2D" in operations
    assert not operations & {"Log1p", "Expm1", "Xlogy", "Xlog1py", "Xdivy"}


def test_without_a_second_map_confidence_is_that_of_being_true():
    said = tf.constant([[[[0.0], [np.log(3.0)]]]])
    np.testing.assert_allclose(confidence(said), [[[0.5, 0.75]]], rtol=1e-6)


def test_all_of_it_is_saved_and_loaded(tmp_path):
    network = build_discriminator(
        3, channels=2, strides=3, sees_image=True, confidence_head=True, spectral_norm=True
    )
    judge(network, *inputs(), training=True)
    network.save_weights(tmp_path / "weights.h5")
    other = build_discriminator(
        3, channels=2, strides=3, sees_image=True, confidence_head=True, spectral_norm=True
    )
    other.load_weights(tmp_path / "weights.h5")
    np.testing.assert_array_equal(judge(other, *inputs()), judge(network, *inputs()))
