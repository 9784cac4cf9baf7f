"""Which strategy a run gets, and networks whose batch norm sees all replicas."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import worker_processes
from tests.runs import fails_with
from tests.tiny_networks import randomize, values
from tf_advseg.cluster import ALONE, Cluster, wait_for_all
from tf_advseg.errors import InputError, WorkerLost
from tf_advseg.models.segmenter import build_segmenter, head_variables, normalization_of
from tf_advseg.training import devices, strategy
from tf_advseg.training.synchronized import (
    SynchronizedBatchNormalization,
    SynchronizedFrozenAffine,
    synchronized,
)
from tf_advseg.training.workers import Workers


def test_one_device_has_no_strategy():
    assert strategy.choose("auto", ALONE, 3).num_replicas_in_sync == 1
    assert not tf.distribute.has_strategy()


def test_mirrored_needs_several_devices(capsys, voc_folder, tmp_path):
    run = ("--dataset", "folder", "--data_dir", voc_folder(train=2), "--run_dir", tmp_path / "run")
    says = ("--strategy mirrored needs several GPUs, and TensorFlow sees 1 device", "allowed: auto")
    fails_with(
        capsys, "train", *run, "--method", "adv", "--steps", 1, "--strategy", "mirrored", says=says
    )
    assert not (tmp_path / "run").exists()


def test_batch_is_parted_among_all_replicas():
    class Three:
        num_replicas_in_sync = 3

    strategy.check_batch_size(6, Three)
    with pytest.raises(InputError, match=r"--batch_size 8 is for all 3 .*: a multiple of 3"):
        strategy.check_batch_size(8, Three)


def test_auto_leaves_out_devices_that_would_get_no_equal_part():
    four = ["GPU:0", "GPU:1", "GPU:2", "GPU:3"]
    used = {size: len(strategy.most_of(four, size)) for size in (10, 8, 9, 7, 2)}
    assert used == {10: 2, 8: 4, 9: 3, 7: 1, 2: 2}
    assert strategy.most_of(four, 10) == four[:2]
    assert strategy.most_of([], 10) == []


def test_description_says_how_the_work_is_parted():
    assert devices.describe().startswith("CPU") and ";" not in devices.describe()
    assert devices.describe(4, 2).endswith("; 4 replicas on 2 workers")
    assert devices.describe(2).endswith("; 2 replicas")


def test_workers_wait_for_each_other_but_not_for_ever(capsys):
    ports = worker_processes.free_ports(3)
    workers = tuple(f"localhost:{port}" for port in ports)
    with ThreadPoolExecutor() as pool:
        assert (
            list(pool.map(lambda i: wait_for_all(Cluster(workers, i), 20), range(3))) == [None] * 3
        )
    assert (
        f"waiting for 2 of the 3 workers of TF_CONFIG: {workers[1]}, {workers[2]}\n"
        in capsys.readouterr().out
    )
    # The second one says that it is the first.
    with ThreadPoolExecutor() as pool:
        pool.submit(wait_for_all, Cluster((workers[1], workers[0]), 0), 0.5)
        with pytest.raises(WorkerLost, match=f"1 of the 2 workers .* in 0 s: {workers[1]}"):
            wait_for_all(Cluster(workers[:2], 0), 0.2)
    with (
        socket.create_server(("", ports[0])),
        pytest.raises(
            InputError,
            match=f"TF_CONFIG gives this worker port {ports[0]}: .* allowed: a free port",
        ),
    ):
        wait_for_all(Cluster(workers, 0), 0.2)


def test_worker_stays_until_the_others_have_met_it():
    ports = worker_processes.free_ports(2)
    workers = tuple(f"localhost:{port}" for port in ports)
    with ThreadPoolExecutor() as pool, socket.create_server(("localhost", ports[1])) as other:
        waiting = pool.submit(wait_for_all, Cluster(workers, 0), 20)
        caller, _ = other.accept()
        with caller:
            caller.sendall(b"worker 1 of 2".ljust(40))
        for told in (b"worker 7 of 9", b"worker 1 of 2"):
            time.sleep(0.3)
            assert not waiting.done()
            with socket.create_connection(("localhost", ports[0])) as caller:
                caller.sendall(told.ljust(40))
        waiting.result()


def test_items_are_parted_among_the_workers():
    clusters = [Cluster(("a:1", "b:1", "c:1"), index) for index in range(3)]
    shares = [Workers(tf.distribute.get_strategy(), cluster).share(7) for cluster in clusters]
    assert shares == [range(0, 2), range(2, 4), range(4, 7)]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (tf.errors.UnavailableError(None, None, "failed to connect to all addresses"), True),
        (tf.errors.InternalError(None, None, "Collective ops is aborted by: Socket closed"), True),
        (tf.errors.InternalError(None, None, "cuDNN launch failure"), False),
    ],
)
def test_only_errors_of_peers_say_that_another_worker_is_gone(error, told):
    workers = Workers(tf.distribute.get_strategy(), Cluster(("a:1", "b:1"), 0))
    with pytest.raises(WorkerLost if told else type(error)) as caught, workers.naming_lost():
        raise error
    assert error.message in str(caught.value)


def norms(network):
    return [x for x in network.submodules if isinstance(x, keras.layers.BatchNormalization)]


@pytest.mark.parametrize(
    ("backbone", "head", "mode", "kind"),
    [
        ("small", "deeplabv2", "train", SynchronizedBatchNormalization),
        ("small", "upernet", "train", SynchronizedBatchNormalization),
        pytest.param(
            *("resnet50", "deeplabv2", "frozen_affine", SynchronizedFrozenAffine),
            marks=pytest.mark.slow,
        ),
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
    randomize(network)
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


def test_norm_that_does_not_learn_uses_the_stored_statistics():
    norm, inputs = (
        SynchronizedBatchNormalization(),
        tf.random.stateless_normal([2, 3, 3, 4], [1, 2]),
    )
    norm.trainable = False
    np.testing.assert_array_equal(norm(inputs, training=True), norm(inputs, training=False))
    np.testing.assert_array_equal(norm.moving_mean, tf.zeros(4))
