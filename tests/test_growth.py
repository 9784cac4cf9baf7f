"""What the growth soak says of samples that are known, and of processes that are."""

import dataclasses
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from tests.soak import growth
from tests.soak.growth import Sample, drift, problems

MIB = 2**20


def samples(memory, files=lambda t: 7, folder=lambda t: 0):
    """A sample every two seconds for half an hour; t in hours -> MiB, files, MiB."""
    return [
        Sample(s, round(memory(s / 3600) * MIB), files(s / 3600), 15, round(folder(s / 3600) * MIB))
        for s in range(0, 1800, 2)
    ]


def test_line_is_that_of_the_samples_behind_the_warm_up():
    # A warm-up of 15 minutes, and then 120 MiB and two files an hour.
    found = drift(
        samples(
            memory=lambda t: 500 if t < 0.249 else 800 + 120 * t,
            files=lambda t: 7 if t < 0.375 else 8,
            folder=lambda t: 60 * t,
        )
    )
    assert found.memory_mib_per_hour == pytest.approx(120, rel=1e-3)
    assert found.memory_error == pytest.approx(0, abs=0.1)
    assert found.folder_mib_per_hour == pytest.approx(60, rel=1e-3)
    assert found.minutes == pytest.approx(15, abs=0.1)
    assert found.samples == 450
    assert found.warm_up_mib == (500,) * 10
    assert len(found.memory_mib) == 10 and found.memory_mib[0] < found.memory_mib[-1]
    assert found.files == (7, 8)
    # A step in the middle: 1.5 times its height over the time.
    assert found.files_per_hour == pytest.approx(1.5 / 0.25, rel=0.02)


def test_error_of_a_slope_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    seconds, values = np.arange(10) * 360.0, rng.normal(size=10)
    slope, error = growth._slope(seconds, values)
    (expected, _), covariance = np.polyfit(seconds / 3600, values, 1, cov=True)
    assert slope == pytest.approx(expected)
    assert error == pytest.approx(covariance[0, 0] ** 0.5)


def test_growth_is_told_and_noise_is_not():
    rng = np.random.default_rng(1)
    noisy = drift(samples(memory=lambda t: 800 + 40 * rng.normal()))
    assert problems(noisy) == []
    leaks = drift(samples(memory=lambda t: 800 + 200 * t + 40 * rng.normal()))
    [line] = problems(leaks)
    assert line.startswith("memory rose by ") and line.endswith("minutes; allowed: 16")
    opens = dataclasses.replace(noisy, files=(7, 12), threads=(15, 99))
    assert problems(opens) == [
        "files went from 7 to 12; allowed: 2 more",
        "threads went from 15 to 99; allowed: 2 more",
    ]


@contextmanager
def running(code):
    """A Python process that has said that it is ready."""
    command = [sys.executable, "-c", f"{code}\nprint(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process.pid
        process.stdin.close()
        process.stdin = None


def test_sample_sees_memory_files_threads_and_the_folder(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a").write_bytes(bytes(1000))
    (tmp_path / "b").write_bytes(bytes(500))
    with running("import threading") as pid:
        plain = growth.sample(pid, tmp_path, 1.5)
    more = """
import threading
kept = b"x" * (100 * 2**20), [open("/dev/null") for _ in range(20)]
for _ in range(3):
    threading.Thread(target=threading.Event().wait, daemon=True).start()"""
    with running(more) as pid:
        full = growth.sample(pid, tmp_path, 2.5)
    assert (plain.seconds, full.seconds) == (1.5, 2.5)
    assert plain.folder == full.folder == 1500
    assert full.memory - plain.memory == pytest.approx(100 * MIB, rel=0.05)
    assert full.files - plain.files == 20
    assert full.threads - plain.threads == 3
