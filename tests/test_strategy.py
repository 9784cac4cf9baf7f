"""Which strategy a run gets, and networks whose batch norm sees all replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.runs import fails_with
from tests.tiny_networks import values
from tf_advseg.cluster import ALONE
from tf_advseg.errors import InputError
from tf_advseg.models.segmenter import build_segmenter, head_variables, normalization_of
from tf_advseg.training import devices, strategy
from tf_advseg.training.synchronized import (
    SynchronizedBatchNormalization,
    SynchronizedFrozenAffine,
    synchronized,
)


def test_one_device_has_no_strategy():
    assert strategy.choose("auto", ALONE).num_replicas_in_sync == 1
    assert not tf.distribute.has_strategy()


def test_mirrored_needs_several_devices(capsys, voc_folder, tmp_path):
    run = ("--dataset", "folder", "--data_dir", voc_folder(train=2), "--run_dir", tmp_path / "run")
    says = ("--strategy mirrored needs several GPUs, and TensorFlow sees 1 device", "allowed: auto")
    fails_with(capsys, "train", *run, "--method", "adv", "--strategy", "mirrored", says=says)
    assert not (tmp_path / "run").exists()


def test_batch_is_parted_among_all_replicas():
    class Three:
        num_replicas_in_sync = 3

    strategy.check_batch_size(6, Three)
    with pytest.raises(InputError, match=r"--batch_size 8 is for all 3 .*: a multiple of 3"):
        strategy.check_batch_size(8, Three)


def test_description_says_how_the_work_is_parted():
    assert devices.describe().startswith("CPU") and ";" not in devices.describe()
    assert devices.describe(4, 2).endswith("; 4 replicas on 2 workers")
    assert devices.describe(2).endswith("; 2 replicas")


def norms(network):
    return [x for x in network.submodules if isinstance(x, keras.layers.BatchNormalization)]


@pytest.mark.parametrize(
    ("backbone", "head", "mode", "kind"),
    [
        ("small", "deeplabv2", "train", SynchronizedBatchNormalization),
        ("small", "upernet", "train", SynchronizedBatchNormalization),
        ("resnet50", "deeplabv2", "frozen_affine", SynchronizedFrozenAffine),
    ],
)
def test_synchronized_network_has_the_same_layers_and_weights(backbone, head, mode, kind):
    network = build_segmenter(backbone, head, num_classes=3, batch_norm=mode)
    found = synchronized(network)
    assert norms(found) and all(isinstance(norm, kind) for norm in norms(found))
    assert [layer.name for layer in found.layers] == [layer.name for layer in network.layers]
    assert len(found.trainable_variables) == len(network.trainable_variables)
    assert len(head_variables(found)) == len(head_variables(network)) > 0
    assert normalization_of(found) == normalization_of(network)
    for own, other in zip(values(found), values(network), strict=True):
        np.testing.assert_array_equal(own, other)


def test_synchronized_norm_of_one_replica_is_keras_own():
    network = build_segmenter("small", num_classes=3)
    found, images = synchronized(network), tf.random.stateless_uniform([2, 33, 49, 3], [1, 2]) * 255
    for training in (True, False):
        own, other = (n(images, training=training) for n in (found, network))
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-3)
    for own, other in zip(values(found), values(network), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)


def test_one_value_in_a_channel_is_normalised_with_the_stored_statistics():
    norm = SynchronizedBatchNormalization()
    inputs = tf.fill([1, 1, 1, 4], 3.0)
    np.testing.assert_allclose(norm(inputs, training=True), norm(inputs, training=False), rtol=1e-5)
    np.testing.assert_array_equal(norm.moving_variance, tf.ones(4))
