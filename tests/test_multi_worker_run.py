"""Whole runs of train.py on several workers, and what happens when one of them is killed."""

import json
import os
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import worker_processes
from tests.runs import TINY, call, command, one_line, script
from tf_advseg import saved_run
from tf_advseg.training import run

pytestmark = pytest.mark.slow

STEPS = 6
FLAGS = (
    *("--dataset", "folder", "--method", "semi", "--labeled_fraction", "0.7", *TINY),
    *("--steps", STEPS, "--eval_every", "3", "--semi_start", "2", "--t_semi", "0.45"),
    *("--learning_rate", "0.02", "--seed", "3"),
)


def run_on_two(*arguments, env):
    """Runs train.py on two workers to its end; returns (exit code, output, errors) of each."""
    with worker_processes.workers(command("train", *arguments), env=env) as running:
        return [worker_processes.finish(process) for process in running]


def wait_for_checkpoints(run_dir, running):
    """Waits until two checkpoints have been written."""
    deadline = time.monotonic() + 240
    while len(list((run_dir / "checkpoints").glob("step-*.index"))) < 2:
        ended = [worker_processes.finish(p) for p in running if p.poll() is not None]
        assert not ended, ended
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.1)


def values_at(run_dir, step):
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints" / f"step-{step}"))
    names = [n for n in reader.get_variable_to_shape_map() if "network" in n or "segmenter" in n]
    return {name: reader.get_tensor(name) for name in names}


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    return {"TF_ADVSEG_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from tests.folders import make_voc_folder

    return "--data_dir", make_voc_folder(tmp_path_factory.mktemp("data") / "d", train=7, val=3)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data, env):
    run_dir = tmp_path_factory.mktemp("alone") / "run"
    done = script("train", *FLAGS, *data, "--run_dir", run_dir, env=env)
    assert done.returncode == 0, done.stderr
    return run_dir


@pytest.fixture(scope="module")
def together(tmp_path_factory, data, env):
    """A run of two workers: its folder, and what they printed."""
    run_dir = tmp_path_factory.mktemp("together") / "run"
    ended = run_on_two(*FLAGS, *data, "--run_dir", run_dir, env=env)
    assert [code for code, _, _ in ended] == [0, 0], ended
    return run_dir, ended


def test_two_workers_train_the_same_run(alone, together):
    expected, found = values_at(alone, STEPS), values_at(together[0], STEPS)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=2e-3, err_msg=name)


def test_two_workers_validate_every_image_once(alone, together):
    first, second = (json.loads((d / "results.json").read_text()) for d in (alone, together[0]))
    assert second["mean_iou"] == pytest.approx(first["mean_iou"], abs=0.01)
    assert second["pixel_accuracy"] == pytest.approx(first["pixel_accuracy"], abs=0.01)


def test_only_the_chief_writes_and_prints(alone, together):
    run_dir, ((_, output, _), (_, other, _)) = together
    assert "2 replicas on 2 workers" in output and "results in" in output
    assert other == ""

    def names(folder):
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        return {name for name in found if "tfevents" not in name}

    assert names(run_dir) == names(alone)
    assert len(list(run_dir.rglob("*tfevents*"))) == 3
    assert saved_run.load_run(run_dir, "last").step == STEPS


def test_worker_that_is_not_the_chief_leaves_the_run_folder_empty(tmp_path, monkeypatch, data):
    # In the folder that all share, a second one who writes the same would not be seen.
    monkeypatch.setattr(run.Workers, "is_chief", False)
    run_dir = tmp_path / "run"
    more = ("--method", "baseline", "--steps", 1, "--eval_every", 1, "--checkpoint_every", 1)
    assert call("train", *FLAGS, *more, *data, "--run_dir", run_dir) == 0
    assert list(run_dir.rglob("*")) == []


@pytest.mark.parametrize("victim", [0, 1])
def test_killed_worker_ends_the_other_and_all_resume(tmp_path, data, env, victim):
    run_dir = tmp_path / "run"
    more = ("--steps", 5000, "--eval_every", 5000, "--checkpoint_every", 2)
    arguments = command("train", *FLAGS, *more, *data, "--run_dir", run_dir)
    with worker_processes.workers(arguments, env=env) as running:
        wait_for_checkpoints(run_dir, running)
        os.kill(running[victim].pid, signal.SIGKILL)
        code, _, errors = worker_processes.finish(running[1 - victim], timeout=120)
        assert code == 1
        one_line(errors, "another of the 2 workers is gone")
    assert not (run_dir / "results.json").exists()
    step = saved_run.load_run(run_dir, "last").step
    assert step >= 4
    flags = ("--run_dir", run_dir, "--resume", "--steps", step + 3)
    ended = run_on_two(*flags, env=env)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert f"resumed at step {step} of {step + 3}" in ended[0][1]


def test_signal_to_one_worker_stops_all_after_the_same_step(tmp_path, data, env):
    run_dir = tmp_path / "run"
    more = ("--steps", 5000, "--eval_every", 5000, "--checkpoint_every", 2)
    arguments = command("train", *FLAGS, *more, *data, "--run_dir", run_dir)
    with worker_processes.workers(arguments, env=env) as running:
        wait_for_checkpoints(run_dir, running)
        running[1].send_signal(signal.SIGTERM)
        ended = [worker_processes.finish(process, timeout=120) for process in running]
    assert [code for code, _, _ in ended] == [128 + signal.SIGTERM] * 2, ended
    assert f"stopped at step {saved_run.load_run(run_dir, 'last').step};" in ended[0][1]


def test_batch_that_cannot_be_parted_is_refused(tmp_path, data, env):
    flags = (*FLAGS, "--batch_size", 3, *data, "--run_dir", tmp_path / "run")
    for code, _, errors in run_on_two(*flags, env=env):
        assert code == 2
        one_line(errors, ("--batch_size 3 is for all 2 replicas", "allowed: a multiple of 2"))
