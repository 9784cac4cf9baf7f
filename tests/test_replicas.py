"""Several replicas train as one would that holds the whole batch: in a process, and in two."""

import subprocess
import sys

import numpy as np
import pytest

from tests import worker_processes
from tests.runs import ROOT

STEPS = [sys.executable, "-m", "tests.replica_steps"]


def numbers(folder, name):
    return dict(np.load(folder / f"{name}.npz"))


def assert_equal(found, alone):
    assert list(found) == list(alone)
    weights = [name for name in alone if name.endswith(":0")]
    assert len(weights) > 5
    for name, value in alone.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def mirrored_steps(folder, *cases):
    """Takes the steps on one replica and on two devices of a process."""
    subprocess.run([*STEPS, folder, "mirrored", *cases], cwd=ROOT, check=True, timeout=240)
    return folder


def worker_steps(folder, *cases):
    """Takes the steps on two workers."""
    with worker_processes.workers([*STEPS, str(folder), "multi_worker", *cases]) as running:
        for process in running:
            code, _, errors = worker_processes.finish(process)
            assert code == 0, errors


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """The folder of steps by the coin, which sees labeled and unlabeled images in turn."""
    return mirrored_steps(tmp_path_factory.mktemp("mirrored"), "coin")


@pytest.fixture(scope="module")
def mirrored_others(tmp_path_factory):
    cases = ("baseline", "adv", "semi", "recompute", "overflow")
    return mirrored_steps(tmp_path_factory.mktemp("mirrored"), *cases)


def test_two_devices_train_as_one(mirrored):
    assert_equal(numbers(mirrored, "coin-0"), numbers(mirrored, "coin-alone"))


@pytest.mark.slow
def test_two_processes_train_as_one(mirrored, tmp_path):
    worker_steps(tmp_path, "coin")
    for worker in range(2):
        assert_equal(numbers(tmp_path, f"coin-{worker}"), numbers(mirrored, "coin-alone"))


def test_coin_moves_the_discriminators_adam_in_labeled_steps_only(mirrored):
    found = numbers(mirrored, "coin-0")
    iterations = [int(value) for name, value in found.items() if "iterations" in name]
    assert max(iterations) == 4 and 0 < min(iterations) < 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "other"),
    [("baseline", "baseline"), ("adv", "adv"), ("semi", "semi"), ("recompute", "semi")],
)
def test_two_devices_train_as_one_with_each_method(mirrored_others, case, other):
    assert_equal(numbers(mirrored_others, f"{case}-0"), numbers(mirrored_others, f"{other}-alone"))


@pytest.mark.slow
def test_two_processes_train_as_one_with_each_method(mirrored_others, tmp_path):
    cases = ("baseline", "adv", "semi")
    worker_steps(tmp_path, *cases)
    for case in cases:
        alone = numbers(mirrored_others, f"{case}-alone")
        assert_equal(numbers(tmp_path, f"{case}-1"), alone)


@pytest.mark.slow
def test_overflow_on_one_replica_skips_the_step_on_all(mirrored_others):
    found, alone = (numbers(mirrored_others, f"overflow-{name}") for name in ("0", "alone"))
    (scale,) = {float(value) for name, value in found.items() if name.endswith("loss_scale")}
    assert scale == 2**14
    for name in alone:
        if name.endswith(":0"):
            assert np.isfinite(found[name]).all()
            np.testing.assert_allclose(found[name], alone[name], atol=5e-3, err_msg=name)
