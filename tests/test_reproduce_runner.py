"""The runs of a table as processes: what is passed on, what is told, what is skipped."""

import dataclasses
import json
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
import tensorflow as tf
from tiny_networks import tiny_discriminator, tiny_segmenter

from tests.planned_tables import finish
from tests.runs import ROOT, TINY, one_line
from tf_advseg.errors import InputError, Interrupted
from tf_advseg.lock import locked
from tf_advseg.reproduce import all_runs, grid, runner, settings, timing
from tf_advseg.training import run
from tf_advseg.training.trainer import AdversarialTrainer


def run_of(script, tmp_path):
    """A run whose command is a script of Python instead of train.py."""
    path = tmp_path / "child.py"
    path.write_text(textwrap.dedent(script))
    return SimpleNamespace(
        command=[sys.executable, "-u", str(path)], shown_command="python child.py", title="a run"
    )


def train(script, tmp_path, on_step=lambda step: None):
    return runner.train(run_of(script, tmp_path), tmp_path / "log", on_step)


def test_steps_are_passed_on_and_everything_is_logged(tmp_path):
    steps = []
    script = """
        print("training on CPU")
        print("step 5/10  0:03 left  loss 2.1")
        print("step 10: validation mean IoU 20.23 %")
        print("step 10/10  0:00 left  loss 1")
    """
    assert train(script, tmp_path, steps.append) is None
    assert steps == [5, 10]
    log = (tmp_path / "log").read_text().splitlines()
    assert log[:2] == ["$ python child.py", "training on CPU"]
    assert len(log) == 5


def test_run_that_fails_says_why_and_the_others_go_on(tmp_path):
    script = """
        import sys
        print("error: step 3: loss is not finite", file=sys.stderr)
        sys.exit(1)
    """
    assert train(script, tmp_path) == f"step 3: loss is not finite; see {tmp_path / 'log'}"


def test_run_that_crashes_is_told_by_its_last_words(tmp_path):
    reason = train("raise KeyError('x')", tmp_path)
    assert reason.startswith("train.py ended with code 1: KeyError: 'x'")
    assert "ended with code -9" in train("import os; os.kill(os.getpid(), 9)", tmp_path)


def test_refused_input_ends_everything(tmp_path):
    script = """
        import sys
        print("error: no image", file=sys.stderr)
        sys.exit(2)
    """
    with pytest.raises(InputError, match="a run: no image"):
        train(script, tmp_path)


@pytest.mark.parametrize("code", [129, 130, 143])
def test_run_that_somebody_stopped_ends_everything(tmp_path, code):
    with pytest.raises(Interrupted) as caught:
        train(f"import sys; sys.exit({code})", tmp_path)
    assert 128 + caught.value.signal_number == code


def test_run_ends_with_whatever_ends_this_process(tmp_path):
    script = """
        import signal, sys, time

        def end(number, frame):
            open(sys.argv[0] + ".ended", "w").close()
            sys.exit(128 + number)

        signal.signal(signal.SIGTERM, end)
        print("step 1/10  ", flush=True)
        time.sleep(30)
    """

    def fail(step):
        raise MemoryError

    with pytest.raises(MemoryError):
        train(script, tmp_path, fail)
    assert (tmp_path / "child.py.ended").exists()


def test_log_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        runner.train(run_of("", tmp_path), tmp_path / "none" / "log", lambda step: None)


@pytest.mark.parametrize("first", [KeyboardInterrupt, lambda: Interrupted(signal.SIGTERM)])
def test_signal_is_passed_on_once_and_the_checkpoint_waited_for(tmp_path, first):
    script = """
        import signal, sys, time

        def save(number, frame):
            print("saving", number, flush=True)
            time.sleep(0.3)
            print("saved", flush=True)
            sys.exit(128 + number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, save)
        print("step 1/10  ", flush=True)
        time.sleep(30)
    """

    def stop(step):
        raise first()

    begin = time.monotonic()
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        train(script, tmp_path, stop)
    assert time.monotonic() - begin < 20
    number = int(signal.SIGINT if first is KeyboardInterrupt else signal.SIGTERM)
    assert (tmp_path / "log").read_text().splitlines()[-2:] == [f"saving {number}", "saved"]


def arguments_of(data_dir, output):
    return ["--dataset", "folder", "--data_dir", str(data_dir), "--output_dir", str(output), *TINY]


def reproduce(data_dir, output, *more):
    arguments = arguments_of(data_dir, output)
    command = [sys.executable, "-m", "tf_advseg.reproduce", *arguments, *more]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_table_makes_the_runs_that_are_missing(voc_folder, tmp_path):
    data_dir, output = voc_folder(train=6), tmp_path / "out"
    arguments = ("--methods", "baseline,adv", "--fractions", "1/2", "--steps", "4")
    own, rest = settings.parse([*arguments_of(data_dir, output), *arguments])
    finish(grid.make_grid(own, rest).runs[1], 0.25, steps=4)
    table = reproduce(data_dir, output, *arguments)
    stdout, stderr = table.communicate(timeout=300)
    assert table.returncode == 0, stderr
    assert "run 1 of 1: baseline 1/2 seed 0" in stdout
    document = json.loads((output / "results.json").read_text())
    scores = {cell["method"]: cell["mean_iou"] for cell in document["cells"]}
    run = json.loads((output / "baseline-0.5-seed0" / "results.json").read_text())
    assert scores == {"baseline": run["mean_iou"], "adv": 0.25}
    assert f"| {100 * run['mean_iou']:.2f} |" in (output / "results.md").read_text()
    assert (output / "results.png").stat().st_size > 1000


@pytest.mark.slow
def test_table_is_stopped_gone_on_with_and_skips_what_is_finished(voc_folder, tmp_path):
    data_dir, output = voc_folder(train=6), tmp_path / "out"
    arguments = ("--methods", "baseline,semi", "--fractions", "1/2", "--steps", "4")
    first = reproduce(data_dir, output, *arguments)
    finished = output / "baseline-0.5-seed0" / "results.json"
    while not finished.is_file():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.1)
    before = finished.stat().st_mtime_ns
    first.send_signal(signal.SIGTERM)
    stdout, stderr = first.communicate(timeout=120)
    assert (first.returncode, stderr) == (143, "")
    assert "run 1 of 2: baseline 1/2 seed 0" in stdout

    second = reproduce(data_dir, output, *arguments)
    stdout, stderr = second.communicate(timeout=300)
    assert second.returncode == 0, stderr
    assert "run 1 of 1: semi 1/2 seed 0" in stdout
    assert finished.stat().st_mtime_ns == before
    document = json.loads((output / "results.json").read_text())
    scores = {(c["method"], c["labeled_fraction"]): c["mean_iou"] for c in document["cells"]}
    assert set(scores) == {("baseline", 0.5), ("semi", 0.5)}
    for cell in document["cells"]:
        folder = output / cell["runs"][0]["folder"]
        assert cell["mean_iou"] == json.loads((folder / "results.json").read_text())["mean_iou"]
        assert cell["seconds_per_step"] > 0
    assert f"{100 * scores['semi', 0.5]:.2f}" in (output / "results.md").read_text()
    assert (output / "results.png").stat().st_size > 1000

    # What is finished costs nothing more, and tells how long another seed would take.
    own, rest = settings.parse(
        [*arguments_of(data_dir, output), *arguments, "--seeds", "0,1", "--dry_run"]
    )
    lines = [line.split() for line in timing.estimate(grid.make_grid(own, rest)).splitlines()]
    planned = {line[line.index("--run_dir") + 1]: line[0] for line in lines if "train.py" in line}
    assert {folder.split("/")[-1]: shown == "finished" for folder, shown in planned.items()} == {
        "baseline-0.5-seed0": True,
        "baseline-0.5-seed1": False,
        "semi-0.5-seed0": True,
        "semi-0.5-seed1": False,
    }
    cell = next(c for c in document["cells"] if c["method"] == "semi")
    told = next(line for line in lines if line[0] == "semi:")
    assert float(told[1]) == pytest.approx(cell["seconds_per_step"], rel=1e-2)
    assert "(of finished runs)" in " ".join(told)


@pytest.fixture
def planned(voc_folder, tmp_path):
    own, rest = settings.parse(
        [*arguments_of(voc_folder(train=6), tmp_path / "out"), "--steps", "4"]
        + ["--methods", "baseline,adv", "--fractions", "1/2"]
    )
    return grid.make_grid(own, rest)


def test_failed_run_does_not_keep_the_others_from_running(planned, monkeypatch, capsys):
    begun = []

    def fail_first(run, log, on_step):
        begun.append(run.title)
        return "it went wrong" if len(begun) == 1 else None

    monkeypatch.setattr(all_runs.runner, "train", fail_first)
    with pytest.raises(SystemExit) as caught:
        all_runs.run_all(planned, "a command")
    assert caught.value.code == 1
    assert begun == ["baseline 1/2 seed 0", "adv 1/2 seed 0"]
    assert capsys.readouterr().err == "failed: baseline 1/2 seed 0: it went wrong\n"
    assert "not finished" in (planned.output_dir / "results.md").read_text()


def test_table_of_what_is_finished_begins_no_run(planned, monkeypatch):
    monkeypatch.setattr(all_runs.runner, "train", lambda *_: pytest.fail("a run was begun"))
    finish(planned.runs[1], 0.25)
    only = dataclasses.replace(planned.own, table_only=True)
    table = all_runs.run_all(dataclasses.replace(planned, own=only), "a command")
    assert {row: cell.mean_iou for (row, _), cell in table.cells.items()} == {
        "baseline": None,
        "adv": 0.25,
    }
    lines = (planned.output_dir / "results.md").read_text().splitlines()
    assert "| `baseline` | not finished |" in lines
    assert "| `adv` | 25.00 |" in lines


def test_second_process_in_the_folder_is_refused(planned, monkeypatch):
    monkeypatch.setattr(all_runs.runner, "train", lambda *_: pytest.fail("a run was begun"))
    planned.output_dir.mkdir()
    with locked(planned.output_dir, "the first"), pytest.raises(InputError, match="another proc"):
        all_runs.run_all(planned, "a command")


def test_output_dir_that_cannot_be_made_is_told(planned):
    planned.output_dir.write_text("a file")
    with pytest.raises(InputError, match="cannot make --output_dir"):
        all_runs.run_all(planned, "a command")


@pytest.mark.slow
def test_time_of_new_runs_is_tried_on_this_machine(planned):
    found = timing.paces(planned)
    assert set(found) == {"baseline", "adv"}
    for pace in found.values():
        assert 0 < pace.step < 60
        assert 0 < pace.image < 60
        assert not pace.of_runs
    run = planned.runs[0]
    pace = timing.Pace(step=2.0, image=0.5, of_runs=True)
    # Twenty seconds to begin; 4 steps; and 4 validations, one a step, of 3 images.
    assert run.settings.eval_every == 1
    assert timing.seconds_left(planned, run, pace) == 20 + 4 * 2 + 4 * 3 * 0.5
    (run.folder / "checkpoints").mkdir(parents=True)
    (run.folder / "checkpoints" / "step-3.index").touch()
    assert timing.seconds_left(planned, run, pace) == 20 + 2 + 3 * 0.5


@pytest.fixture
def without_graphs():
    """A step that is taken once is not worth tracing it."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("method", ["teacher", "semi_plus"])
def test_time_of_a_teachers_runs_is_tried_with_the_harder_view(
    method, voc_folder, tmp_path, monkeypatch, without_graphs
):
    seen = []

    def once(act):
        act()
        return 2.0

    def tiny_trainer(config, num_classes):
        trainer = AdversarialTrainer(
            tiny_segmenter(), tiny_discriminator(), config.recipe(), averaged=tiny_segmenter()
        )
        trainer.compile(tf.keras.optimizers.SGD(), tf.keras.optimizers.SGD())
        return trainer

    def step(trainer, batch):
        seen.append([part.shape for part in batch["unlabeled"]])
        return train_step(trainer, batch)

    train_step = AdversarialTrainer.train_step
    monkeypatch.setattr(run, "build_trainer", tiny_trainer)
    monkeypatch.setattr(timing, "_seconds", once)
    monkeypatch.setattr(AdversarialTrainer, "train_step", step)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [])
    own, rest = settings.parse(
        [*arguments_of(voc_folder(train=4, val=1), tmp_path / "out"), "--methods", method]
        + ["--fractions", "1/2", "--steps", "4", "--batch_size", "3"]
    )
    made = grid.make_grid(own, rest)
    assert timing.paces(made) == {method: timing.Pace(step=3 * 2.0, image=2.0, of_runs=False)}
    # Without a GPU one image stands for the three. Images, where they count, and the harder view:
    maps = (1, *made.settings.crop_size)
    assert seen == [[(*maps, 3), maps, (*maps, 3), maps]]


def test_wrong_flag_is_told_in_one_line_and_nothing_is_written(voc_folder, tmp_path):
    process = reproduce(voc_folder(), tmp_path / "out", "--fractions", "2")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    one_line(stderr, ("--fractions is '2'", "shares such as 1/8"))
    assert not (tmp_path / "out").exists()


def test_help_is_instant():
    probe = """
import atexit, runpy, sys
atexit.register(lambda: print(sorted({"numpy", "tensorflow", "matplotlib"} & set(sys.modules))))
sys.argv = ["reproduce", "--help"]
runpy.run_module("tf_advseg.reproduce", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--fractions" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
