"""What --resume goes on with, and what it refuses. That it ends as it should: test_kills."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tests.runs import SHARED, STEPS, call, copy_of, one_line, shared_run
from tf_advseg import disk
from tf_advseg.config import stored_config
from tf_advseg.errors import InputError
from tf_advseg.lock import locked
from tf_advseg.saved_run import load_run
from tf_advseg.training import run


@pytest.fixture
def copied(tmp_path):
    """A copy of the shared run, finished."""
    return copy_of(shared_run(), tmp_path / "run")


def test_finished_run_is_left_as_it_is(copied, capsys):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    assert call("train", "--run_dir", copied, "--resume") == 0
    assert f"{copied} is finished: {STEPS} steps" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_results_that_are_missing_are_measured_again(copied):
    (copied / "results.json").unlink()
    assert call("train", "--run_dir", copied, "--resume") == 0
    results = json.loads((copied / "results.json").read_text("utf-8"))
    whole = shared_run().read("results.json")
    for name in ("mean_iou", "best_mean_iou", "per_class_iou", "steps", "unlabeled_images"):
        assert results[name] == whole[name], name
    assert results["images_per_second"] is None


def test_run_is_refused_without_resume(copied, capsys):
    data = ("--dataset", "folder", "--data_dir", shared_run().data_dir)
    assert call("train", *data, "--run_dir", copied) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: --run_dir {copied} holds a run; go on with it by --resume")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("method", "adv"),
        ("seed", "4"),
        ("labeled_fraction", "0.5"),
        ("learning_rate", "0.01"),
        ("crop_size", "33"),
        ("backbone", "resnet50"),
        ("random_flip", "false"),
    ],
)
def test_changed_setting_is_refused_by_name(copied, capsys, flag, value):
    assert call("train", "--run_dir", copied, "--resume", f"--{flag}", value) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: --{flag} was ")
    assert str(copied) in error


def test_all_changes_that_are_refused_are_told_with_what_is_allowed(copied, capsys):
    changed = ("--seed", "4", "--steps", "50", "--method", "adv")
    assert call("train", "--run_dir", copied, "--resume", *changed) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    refused, allowed = error.split(f": the run in {copied} cannot go on so; ")
    assert refused == "error: --method was semi and is adv now; --seed was 3 and is 4 now"
    assert allowed == (
        "allowed: another --run_dir, or changes of --data_dir, --steps, --strategy, "
        "--steps_per_execution, --data_service, --recompute, --deterministic, --eval_every, "
        "--checkpoint_every"
    )


def test_same_settings_again_are_no_change(copied):
    data = ("--data_dir", shared_run().data_dir)
    assert call("train", *SHARED, *data, "--run_dir", copied, "--resume") == 0


@pytest.fixture
def started(monkeypatch):
    """Puts a list of the calls in the place of the training itself."""
    calls = []

    def train(config, files, cluster, command):
        calls.append((config, files))
        return {"mean_iou": 0.5, "best_mean_iou": 0.5, "protocol": "full images"}

    monkeypatch.setattr("tf_advseg.training.run.train", train)
    return calls


@pytest.mark.parametrize("made", [False, True])
def test_resume_of_an_empty_folder_starts_fresh(tmp_path, started, made, capsys):
    run_dir = tmp_path / "run"
    if made:
        run_dir.mkdir()
    data = ("--data_dir", shared_run().data_dir)
    assert call("train", *SHARED, *data, "--run_dir", run_dir, "--resume") == 0
    assert f"no run in {run_dir} yet: this begins one" in capsys.readouterr().out
    ((config, files),) = started
    assert (config.run_dir, config.seed, config.steps) == (str(run_dir), 3, STEPS)
    assert len(files.split.labeled) == 4


def test_folder_that_holds_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    for flags in ((), ("--resume",)):
        data = ("--data_dir", shared_run().data_dir)
        assert call("train", *SHARED, *data, "--run_dir", tmp_path, *flags) == 2
        assert f"--run_dir {tmp_path} holds other files" in capsys.readouterr().err


def test_moved_data_is_found_by_flag_and_keeps_the_split(copied, tmp_path, started, capsys):
    """More steps, other data folder: both may change, the labeled images may not."""
    moved = Path(shutil.copytree(shared_run().data_dir, tmp_path / "moved"))
    flags = ("--data_dir", moved, "--steps", 50)
    assert call("train", "--run_dir", copied, "--resume", *flags) == 0
    ((config, files),) = started
    assert (config.steps, config.semi_start, config.data_dir) == (50, 20, str(moved))
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("changed:")]
    assert told == [
        f"changed: --data_dir was {shared_run().data_dir} and is {moved} now",
        f"changed: --steps was {STEPS} and is 50 now",
    ]
    assert list(files.split.labeled) == shared_run().read("split.json")["labeled"]
    assert all(path.is_relative_to(moved) for path in files.labeled.images)


def missing_image(data, run_dir):
    (data / "JPEGImages" / "train_4.jpg").unlink()
    return f"has no image, or no label, for 'train_4', one of 1 with which the run in {run_dir}"


def missing_label(data, run_dir):
    labeled = json.loads((run_dir / "split.json").read_text("utf-8"))["labeled"]
    for name in labeled[:2]:
        (data / "SegmentationClass" / f"{name}.png").unlink()
    return f"has no image, or no label, for '{labeled[0]}', one of 2 with which"


def other_classes(data, run_dir):
    document = json.loads((data / "classes.json").read_text("utf-8"))
    document["classes"].reverse()
    (data / "classes.json").write_text(json.dumps(document), "utf-8")
    return f"the classes class2, class1, class0, and the run in {run_dir} began with class0, class1"


@pytest.mark.parametrize("change", [missing_image, missing_label, other_classes])
def test_data_that_are_not_those_of_the_run_are_refused(copied, tmp_path, started, capsys, change):
    data = Path(shutil.copytree(shared_run().data_dir, tmp_path / "data"))
    says = change(data, copied)
    flags = ("--data_dir", data, "--steps", 50)
    assert call("train", "--run_dir", copied, "--resume", *flags) == 2
    one_line(capsys.readouterr().err, (f"{data} ", says, "allowed: a --data_dir that has"))
    assert not started


def test_fewer_steps_than_were_taken_are_refused(copied, capsys):
    (copied / "results.json").unlink()
    assert call("train", "--run_dir", copied, "--resume", "--steps", STEPS - 1) == 2
    one_line(capsys.readouterr().err, f"--steps 39: the run in {copied} is at step {STEPS}; allow")


def test_settings_of_a_version_that_had_fewer_are_resumed(copied, started):
    path = copied / "config.json"
    stored = json.loads(path.read_text("utf-8"))
    for newer in ("deterministic", "recompute", "eval_checkpoint", "void_as_background"):
        del stored[newer]
    path.write_text(json.dumps(stored), "utf-8")
    assert call("train", "--run_dir", copied, "--resume", "--steps", 50) == 0
    ((config, _),) = started
    assert (config.deterministic, config.recompute, config.eval_checkpoint) == (
        False,
        False,
        "last",
    )


def test_second_process_in_a_run_folder_is_refused(copied, capsys):
    (copied / "results.json").unlink()
    with locked(copied, ""):
        assert call("train", "--run_dir", copied, "--resume") == 2
        one_line(capsys.readouterr().err, f"another process trains the run in --run_dir {copied}")
        assert load_run(copied, "last").step == STEPS


def test_folder_that_became_a_run_since_the_flags_were_checked_is_refused(copied, capsys):
    config = dataclasses.replace(stored_config(copied), run_dir=str(copied))
    with pytest.raises(InputError, match=f"{copied} holds a run; go on with it by --resume"):
        run.train(config, files=None)


def test_run_that_was_killed_as_it_wrote_its_first_file_begins_anew(tmp_path, started):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / ".config.json.4be1.tmp").write_text('{"pres', "utf-8")
    data = ("--data_dir", shared_run().data_dir)
    assert call("train", *SHARED, *data, "--run_dir", run_dir, "--resume") == 0
    assert len(started) == 1


def test_disk_that_is_full_is_told_before_the_first_step(copied, capsys, monkeypatch):
    (copied / "results.json").unlink()
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: full)
    assert call("train", "--run_dir", copied, "--resume", "--steps", 50) == 2
    one_line(capsys.readouterr().err, f"{copied} has 0.00 GiB left, and its checkpoints will take")
    assert json.loads((copied / "config.json").read_text("utf-8"))["steps"] == STEPS
