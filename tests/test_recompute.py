"""Recomputation: the same numbers, from fewer activations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.config import train_config
from tf_advseg.models.normalization import FoldedBatchNormalization
from tf_advseg.models.recompute import RecomputingNetwork, recomputed, segment_ends
from tf_advseg.models.segmenter import build_segmenter
from tf_advseg.training.run import build_trainer
from tf_advseg.training.synchronized import SynchronizedBatchNormalization, synchronized


def step(segmenter, images):
    """Loss and gradients of a training call, inside of a graph."""

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(segmenter(images, training=True)))
        return loss, tape.gradient(loss, segmenter.trainable_variables)

    return run()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("batch_norm", "precision"),
    [
        ("train", "float32"),
        pytest.param("frozen_affine", "mixed_bfloat16", marks=SLOW),
        pytest.param("train", "mixed_bfloat16", marks=SLOW),
        pytest.param("frozen_affine", "float32", marks=SLOW),
        pytest.param("frozen", "float32", marks=SLOW),
        pytest.param("frozen", "mixed_bfloat16", marks=SLOW),
    ],
)
def test_outputs_gradients_and_statistics_are_the_same_to_the_bit(batch_norm, precision):
    options = {"num_classes": 3, "batch_norm": batch_norm, "precision": precision}
    plain = build_segmenter("small", **options)
    other = build_segmenter("small", **options, recompute=True)
    assert [v.name for v in other.weights] == [v.name for v in plain.weights]
    other.set_weights(plain.get_weights())
    images = tf.random.stateless_uniform([2, 33, 49, 3], (1, 2), maxval=255)
    (own, own_gradients), (loss, gradients) = step(other, images), step(plain, images)
    assert float(own) == float(loss)
    for value, wanted in zip(own_gradients, gradients, strict=True):
        np.testing.assert_array_equal(value, wanted)
    for value, wanted in zip(other.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(value, wanted)
    np.testing.assert_array_equal(other(images), plain(images))


def test_block_runs_once_more_for_its_gradient_and_follows_statistics_once():
    image = keras.Input((4, 4, 2))
    norm = keras.layers.BatchNormalization(momentum=0.5)
    block = keras.Model(image, norm(keras.layers.Conv2D(2, 1)(image)))
    images = tf.random.stateless_normal([3, 4, 4, 2], (1, 2))

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(recomputed(block)(images) ** 2)
        return tape.gradient(loss, images)

    types = [operation.type for operation in run.get_concrete_function().graph.get_operations()]
    assert types.count("Conv2D") == 2
    before = norm.moving_mean.numpy()
    convolved = block.layers[1](images)
    run()
    mean = tf.reduce_mean(convolved, [0, 1, 2])
    np.testing.assert_allclose(norm.moving_mean, 0.5 * before + 0.5 * mean, rtol=1e-5, atol=1e-6)


def chain(blocks):
    """A network of residual blocks, "block0" ... each of two layers and a shortcut."""
    x = image = keras.Input((8, 8, 2))
    for index in range(blocks):
        inner = keras.layers.ReLU(name=f"inner{index}")(x)
        inner = keras.layers.ReLU(name=f"inner_too{index}")(inner)
        x = keras.layers.Add(name=f"block{index}")([x, inner])
    return keras.Model(image, x)


def test_every_root_th_block_is_kept_and_so_are_the_outputs():
    # The input's shortcut and 8 more end a block, and the last one is the output: 10; root 3.16.
    assert segment_ends(chain(9), ["block8"]) == ["block1", "block4", "block7", "block8"]
    # An output starts the count anew.
    ends = segment_ends(chain(9), ["block2", "block8"])
    assert ends == ["block1", "block2", "block5", "block8"]


def test_output_that_a_shortcut_goes_past_is_refused():
    with pytest.raises(ValueError, match="cannot be cut at inner1: a shortcut goes past it"):
        segment_ends(chain(2), ["inner1", "block1"])


@pytest.mark.parametrize("value", ["false", "true"])
def test_flag_reaches_the_backbone(value):
    config = train_config(["--recompute", value, "--precision", "float32"])
    backbone = build_trainer(config, 3).segmenter.get_layer("small")
    assert isinstance(backbone, RecomputingNetwork) == (value == "true")


@pytest.mark.parametrize("batch_norm", ["train", pytest.param("frozen", marks=SLOW)])
def test_networks_of_several_replicas_recompute_too(batch_norm):
    options = {"num_classes": 3, "batch_norm": batch_norm, "recompute": True}
    segmenter = build_segmenter("small", "upernet", **options)
    copy = synchronized(segmenter)
    assert isinstance(copy.get_layer("small"), RecomputingNetwork)
    kind = SynchronizedBatchNormalization if batch_norm == "train" else FoldedBatchNormalization
    assert type(copy.get_layer("small").get_layer("stem_bn")) is kind
    assert type(copy.get_layer("head_fuse_bn")) is SynchronizedBatchNormalization
    images = tf.random.stateless_uniform([1, 33, 49, 3], (1, 2), maxval=255)
    np.testing.assert_allclose(copy(images), segmenter(images), rtol=1e-5, atol=1e-5)
