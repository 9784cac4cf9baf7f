"""The benchmark's harness: turns, statistics, files, flags, and a small run of two parts."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks import harness, results, rival, settings
from benchmarks.parts import step
from benchmarks.workers import Contender, ContenderFailed, Repetition

ROOT = Path(__file__).resolve().parents[1]
CONTENDERS = "tests.bench_contenders"


def noting(name, file):
    return Contender(name, f"{CONTENDERS}:noting", {"name": name, "file": str(file)})


def repetition(seconds):
    return Repetition(seconds, seconds, 0.0, 0.0, 1)


def measured(*seconds, **facts):
    facts = {"import_memory_bytes": 1, "prepare_seconds": 1.0, **facts}
    return harness.Measured(facts, [repetition(s) for s in seconds])


def run_bench(*arguments, timeout=60):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_contenders_take_turns_in_processes_of_their_own(tmp_path):
    file = tmp_path / "runs"
    ticks = []
    found = harness.measure(
        [noting("a", file), noting("b", file)], 3, 1, lambda: ticks.append(None)
    )
    lines = [line.split() for line in file.read_text().splitlines()]
    # The warm-up of each, and then one after the other.
    assert [name for name, _ in lines] == ["a", "b", *"ababab"]
    assert len({process for _, process in lines} | {str(os.getpid())}) == 3
    assert len(ticks) == 6
    assert len(found["a"].seconds) == 3
    assert found["b"].facts["told"] == "b"


def test_what_a_contender_prints_is_not_taken_for_its_answer():
    contender = Contender("loud", f"{CONTENDERS}:printing", {})
    with harness.ready([contender], 0) as workers:
        assert workers["loud"].run().seconds >= 0
        assert "from below" in workers["loud"].log()


def test_a_contender_that_fails_is_told_with_its_last_words():
    contender = Contender("broken", f"{CONTENDERS}:missing", {})
    with pytest.raises(ContenderFailed, match=r"broken ended with code 1:(.|\n)*missing"):
        harness.measure([contender], 1, 0)


def test_no_process_is_left_when_a_measurement_ends(tmp_path):
    with harness.ready([noting("a", tmp_path / "runs")], 0) as workers:
        process = workers["a"]._process.pid
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_the_time_of_a_workers_own_children_is_not_that_of_others():
    busy = "import time\nwhile time.process_time() < 0.3: pass\ntime.sleep(60)"
    code = f"""if True:
        import subprocess, sys, time
        from benchmarks.workers import used_seconds
        child = subprocess.Popen([sys.executable, "-c", {busy!r}])
        while used_seconds() - time.process_time() < 0.25:
            time.sleep(0.05)
        child.kill()"""
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=ROOT, timeout=30, check=True, start_new_session=True)


def test_the_ratio_is_of_neighbours_and_not_of_medians():
    # The machine was ten times slower in the second round, for both.
    ratio = harness.ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0])
    assert ratio == {"median": 2.0, "min": 2.0, "max": 3.0}


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_its_own(power):
    sizes = [1, 2, 4, 8]
    found = harness.exponent(sizes, [3 * size**power for size in sizes])
    assert found == pytest.approx(power, abs=1e-9)


def test_the_median_is_not_moved_by_one_slow_repetition():
    summary = measured(1.0, 100.0, 2.0).summary()
    assert summary["seconds"] == {"median": 2.0, "min": 1.0, "max": 100.0, "all": [1.0, 100.0, 2.0]}


def test_equal_losses_give_their_largest_difference():
    found = harness.compare_losses({"a": 1.001, "b": 2.0}, {"a": 1.0, "b": 2.0}, 0.01, "ours")
    assert found == pytest.approx(0.001)


def test_small_losses_may_differ_by_a_share_of_the_floor():
    found = harness.compare_losses({"a": 0.015}, {"a": 0.010}, 0.1, "ours", floor=0.1)
    assert found == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"a": 1.1, "b": 2.0}, "ours: a of the first step is 1.1 instead of 1"),
        ({"a": 1.0, "b": math.nan}, "ours: b of the first step is nan instead of 2"),
        ({"a": 1.0}, "ours has the losses"),
    ],
)
def test_other_work_is_not_compared(losses, message):
    with pytest.raises(harness.Disagreement, match=message):
        harness.compare_losses(losses, {"a": 1.0, "b": 2.0}, 0.01, "ours")


def test_each_case_is_in_the_file_as_soon_as_it_is_measured(tmp_path):
    common = settings.Common(output_dir=str(tmp_path / "new"), limits=False)
    path = tmp_path / "new" / "step.json"
    with results.Results("step", common, 1) as written:
        written.add({"case": "first"})
        document = json.loads(path.read_text())
        assert document["cases"] == [{"case": "first"}]
        assert not document["finished"]
    document = json.loads(path.read_text())
    assert document["finished"]
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["libraries"]["tensorflow"] == tf.__version__


def test_an_interrupted_measurement_is_marked_as_such(tmp_path):
    common = settings.Common(output_dir=str(tmp_path), limits=False)
    with pytest.raises(KeyboardInterrupt), results.Results("step", common, 1) as written:
        written.add({"case": "first"})
        raise KeyboardInterrupt
    document = json.loads((tmp_path / "step.json").read_text())
    assert not document["finished"]
    assert document["cases"] == [{"case": "first"}]


def test_what_is_not_installed_is_named_and_the_rest_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rival, "available", lambda module: False)
    monkeypatch.setattr(harness, "measure", lambda *_: {harness.OURS: measured(1.0)})
    step.run(
        step.Settings(
            backbones=("resnet101",), methods=("adv",), output_dir=str(tmp_path), limits=False
        )
    )
    document = json.loads((tmp_path / "step.json").read_text())
    assert "torch is not installed" in document["skipped"][0]
    assert "requirements-bench.txt" in capsys.readouterr().out
    assert [list(case["contenders"]) for case in document["cases"]] == [["ours"], ["ours"]]


def test_what_is_to_be_installed_is_pinned():
    lines = (ROOT / "requirements-bench.txt").read_text().splitlines()
    assert {line.partition("==")[0] for line in lines if "==" in line} == {"torch", "openvino"}


def test_the_search_keeps_what_is_faster_and_goes_on_after_a_failure():
    options = {"seconds": {"channels_last": 0.2, "contiguous": 0.04}}
    best, tried = rival.search(
        f"{CONTENDERS}:sleeping",
        options,
        rival.Variant(),
        ("execution", "layout", "norms"),
        2,
        lambda line: None,
    )
    assert best == rival.Variant(layout="contiguous")
    assert [entry["setting"] for entry in tried] == [
        "execution=compiled",
        "layout=contiguous",
        "norms=apart",
    ]
    assert "no compiler" in tried[0]["error"]
    assert tried[1]["speedup"] > 2


def test_a_variant_is_read_from_its_own_text():
    variant = rival.Variant(layout="contiguous", execution="compiled", threads=3)
    assert rival.parse_variant(str(variant), 1) == variant
    assert rival.parse_variant("default", 2) == rival.Variant(threads=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "'nothing' is no part; allowed: step"),
        (["step", "--methods", "adv,adv"], "--methods is 'adv,adv'"),
        (["step", "--rival", "layout=round"], "--rival is 'layout=round'"),
        (["inference", "--sizes", "0x3"], "--sizes is '0x3'"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(arguments, message):
    done = run_bench(*arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")


def test_help_names_every_part_and_loads_no_library():
    code = (
        "import sys; sys.argv = ['benchmarks', '--help']\n"
        "from benchmarks import __main__ as bench; bench.main()\n"
        "assert not {'tensorflow', 'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for part in ("step", "inference", "input", "memory", "startup", "logging", "growth"):
        assert f"\n  {part} " in done.stdout


@pytest.mark.slow
def test_steps_are_measured_end_to_end(tmp_path):
    pytest.importorskip("torch")
    arguments = "step --backbones small --sizes 33 --methods adv --num_classes 5 --rival default"
    arguments += " --repetitions 2 --warmup 1 --output_dir"
    done = run_bench(*arguments.split(), tmp_path, timeout=900)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "step.json").read_text())
    assert [case["case"]["precision"] for case in document["cases"]] == ["float32", "bfloat16"]
    for case in document["cases"]:
        assert set(case["contenders"]) == {"ours", "torch"}
        assert all(len(one["seconds"]["all"]) == 2 for one in case["contenders"].values())
        assert case["times_as_fast"]["median"] > 0
    assert document["matmul_gflops"]["after"]["torch"]["float32"] > 0


@pytest.mark.slow
def test_the_pipeline_is_measured_end_to_end(tmp_path):
    arguments = "input --steps 2 --repetitions 1 --limits false --crop_size 33 --output_dir"
    done = run_bench(*arguments.split(), tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "input.json").read_text())
    for case in document["cases"]:
        assert case["contenders"]["ours"]["images_per_second_per_core"] > 0
