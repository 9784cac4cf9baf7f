"""tf.data service: what is read through it, and what is told where there is none."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from tests.folders import numbered_pairs
from tests.runs import fails_with
from tests.worker_processes import free_ports
from tf_advseg.data import service
from tf_advseg.data.pipeline import Views, training_dataset
from tf_advseg.data.positions import Share
from tf_advseg.errors import InputError, WorkerLost

VIEWS = Views(crop_size=(8, 8), random_scale=(1.0, 1.0), flip=False)


@pytest.fixture(scope="module")
def two_servers():
    """The address of a service of two machines, in this process."""
    first = service.Settings(port=0, host="localhost")
    with service.running(first) as address:
        second = service.Settings(port=0, dispatcher=address, host="localhost")
        with service.running(second) as same:
            assert same == address
            yield address


@pytest.fixture
def batches(tmp_path):
    """Endless batches of 200 numbered images, two pieces of two images each step."""
    pairs = numbered_pairs(tmp_path, 200)
    unlabeled = [image for image, _ in pairs]
    whole = Share(pieces=2)
    return training_dataset(pairs, unlabeled, VIEWS, batch_size=4, steps=None, seed=0, share=whole)


@pytest.mark.parametrize(("job", "readers"), [(None, 1), ("shared", 2)])
def test_each_image_is_read_once_by_all_readers_together(two_servers, batches, job, readers):
    read = [service.read_through(batches, two_servers, job) for _ in range(readers)]
    assert not any(dataset.options().autotune.enabled for dataset in read)  # See `untuned`.
    iterators = [iter(dataset) for dataset in read]
    seen = {"labeled": [], "unlabeled": []}
    for turn in range(20):
        batch = next(iterators[turn % readers])
        for kind, found in seen.items():
            found += batch[kind][0].numpy()[:, 0, 0, 0].tolist()
        np.testing.assert_array_equal(batch["labeled"][0][..., 0], batch["labeled"][1])
    for found in seen.values():
        assert len(set(found)) == len(found) == 40


@pytest.mark.parametrize("silent", [False, True])
def test_port_without_a_service_is_told_in_time(silent):
    """Nothing listens there, or what does never answers."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1] if silent else 1
        says = f"--data_service grpc://localhost:{port} cannot be used: .*; allowed: the address of"
        began = time.monotonic()
        with pytest.raises(InputError, match=says):
            service.wait_for(f"grpc://localhost:{port}", seconds=1.0)
    assert 0.9 < time.monotonic() - began < 5


def test_service_that_starts_late_is_waited_for():
    (port,) = free_ports(1)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(service.wait_for, f"grpc://localhost:{port}", seconds=20.0)
        time.sleep(0.3)
        assert not waiting.done()
        with service.running(service.Settings(port=port, host="localhost")):
            waiting.result()


def test_further_machine_is_told_from_the_service():
    config = tf.data.experimental.service
    dispatcher = config.DispatchServer()
    with pytest.raises(InputError, match="no machine reads for it yet"):
        service.wait_for(dispatcher.target, seconds=0.2)
    (port,) = free_ports(1)
    address = dispatcher.target.removeprefix("grpc://")
    _worker = config.WorkerServer(config.WorkerConfig(address, port=port))
    with pytest.raises(InputError, match="or one of its further machines"):
        service.wait_for(f"grpc://localhost:{port}", seconds=20.0)


def test_service_that_is_gone_ends_what_waits_for_it():
    numbers = tf.data.Dataset.range(9).repeat()
    with service.running(service.Settings(port=0, host="localhost")) as address:
        iterator = iter(service.read_through(numbers, address))
        take = tf.function(lambda: next(iterator))
        with service.watched(address, seconds=1.0):
            take()
    with (
        pytest.raises(WorkerLost, match=f"--data_service {address} did not answer for 1 s"),
        service.watched(address, seconds=1.0),
    ):
        while True:
            take()


@pytest.mark.parametrize("address", ["localhost:5050", "grpc://localhost", "grpc://a:99999", "x"])
def test_wrong_address_is_refused_before_work_starts(capsys, tmp_path, address):
    run = ("--run_dir", tmp_path / "run")
    says = (f"--data_service is {address!r}", "allowed: grpc://HOST:PORT")
    fails_with(capsys, "train", *run, "--data_service", address, says=says)
    assert not (tmp_path / "run").exists()


def test_port_that_is_taken_is_told():
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        running = service.running(service.Settings(port=port))
        with pytest.raises(InputError, match=f"--port {port}: .* allowed: a free port"), running:
            pass
