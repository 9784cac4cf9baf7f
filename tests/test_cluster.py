"""TF_CONFIG: which processes train together, and what is wrong with it, in one line."""

import json

import pytest

from tests.runs import fails_with
from tests.worker_processes import tf_config
from tf_advseg.cluster import ALONE, Cluster, of_run, parse
from tf_advseg.errors import InputError

TWO = tf_config((1001, 1002), 1)


def text(cluster, **task):
    return json.dumps({"cluster": cluster, "task": task})


def test_workers_and_their_place():
    found = of_run("auto", {"TF_CONFIG": TWO})
    assert found == Cluster(("localhost:1001", "localhost:1002"), 1)
    assert not found.is_chief and found.size == 2
    assert of_run("multi_worker", {"TF_CONFIG": TWO}) == found
    assert parse(tf_config((1001, 1002), 0)).is_chief


def test_job_chief_comes_before_the_workers():
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    assert parse(text(cluster, type="chief", index=0)) == Cluster(("a:1", "b:1", "c:1"), 0)
    assert parse(text(cluster, type="worker", index=1)).index == 2


@pytest.mark.parametrize("config", ["", "{}", tf_config((1001,), 0)])
@pytest.mark.parametrize("strategy", ["auto", "mirrored"])
def test_one_worker_trains_alone(strategy, config):
    if (strategy, config) != ("mirrored", "{}"):
        assert of_run(strategy, {"TF_CONFIG": config}) == ALONE
    assert ALONE.is_chief and of_run(strategy, {}) == ALONE


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{workers", "TF_CONFIG is no JSON"),
        ("[1]", "TF_CONFIG has no cluster"),
        (json.dumps({"task": {"type": "worker", "index": 0}}), "has no cluster"),
        (json.dumps({"cluster": {"worker": ["a:1"]}}), "has no task"),
        (text({"worker": ["a:1"], "ps": ["b:1"]}, type="worker", index=0), "the job 'ps'"),
        (text({"worker": ["a:1"]}, type="chief", index=0), "task type 'chief'"),
        (text({"worker": ["a:1", "b:1"]}, type="worker", index=2), "task index 2, but 2 of job"),
        (text({"worker": ["a:1"]}, type="worker", index="0"), "task index '0'"),
        (text({"worker": ["a:1"]}, type="worker"), "task index None"),
        (text({"worker": ["a"]}, type="worker", index=0), "the address 'a'"),
        (text({"worker": []}, type="worker", index=0), "no list of addresses for job 'worker'"),
        (text({"worker": ["a:1", "a:1"]}, type="worker", index=0), "an address twice"),
        (text({"chief": ["a:1", "b:1"]}, type="chief", index=0), "2 chiefs"),
    ],
)
def test_wrong_tf_config_is_told(config, says):
    with pytest.raises(InputError) as caught:
        of_run("auto", {"TF_CONFIG": config})
    assert says in str(caught.value)
    assert str(caught.value).endswith(
        'allowed: {"cluster": {"worker": ["HOST:PORT", ...]}, '
        '"task": {"type": "worker", "index": N}}'
    )


def test_strategy_and_tf_config_must_go_together():
    with pytest.raises(InputError, match="--strategy multi_worker needs TF_CONFIG; allowed: "):
        of_run("multi_worker", {})
    with pytest.raises(InputError, match="--strategy mirrored beside a TF_CONFIG of 2 workers"):
        of_run("mirrored", {"TF_CONFIG": TWO})


def test_train_tells_it_before_work_starts(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", "{workers")
    fails_with(capsys, "train", "--run_dir", tmp_path / "run", says="TF_CONFIG is no JSON")
    assert not (tmp_path / "run").exists()
