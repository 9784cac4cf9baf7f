"""Wrong flags, data and folders: exit code 2, and one line that says what and where."""

import functools
import json
import os
import subprocess
import sys

import pytest

from tests import damages
from tests.folders import make_voc_folder
from tests.runs import ROOT, TINY, call, fails_with, one_line, script, shared_run


@pytest.fixture
def data(tmp_path):
    return make_voc_folder(tmp_path / "voc", train=4, val=2)


@pytest.fixture
def fails(capsys):
    """As `tests.runs.fails_with`."""
    return functools.partial(fails_with, capsys)


def train_flags(data, *more):
    base = ("--dataset", "folder", "--data_dir", data, "--run_dir", data.parent / "run")
    return (*base, "--labeled_fraction", "0.5", *TINY, "--steps", "1", *more)


# Flags


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        *[("labeled_fraction", value, "at most 1") for value in ("0", "1.5", "nan", "abc", "-1")],
        ("method", "magic", "baseline, adv, semi"),
        ("backbone", "vgg", "resnet101"),
        ("head", "none", "deeplabv2"),
        ("dataset", "coco", "folder"),
        ("preset", "best", "paper"),
        ("precision", "float8", "mixed_bfloat16"),
        ("crop_size", "33,", "H,W"),
        ("crop_size", "16,64", "each at least 17"),
        ("batch_size", "2.5", "a whole number"),
        ("steps", "0", "at least 1"),
        ("learning_rate", "inf", "above 0"),
        ("output_stride", "12", "8, 16, 32"),
        ("random_scale", "2,1", "smaller, larger"),
        ("weights", "missing.h5", "imagenet"),
        ("seed", "-1", "at least 0"),
    ],
)
def test_wrong_values(data, fails, flag, value, allowed):
    # The last of a flag given twice counts.
    fails("train", *train_flags(data), f"--{flag}", value, says=(f"--{flag}", allowed))
    assert not (data.parent / "run").exists()


@pytest.mark.parametrize(
    ("name", "flags", "says"),
    [
        (
            "train",
            ("--label_fraction", "1"),
            "did you mean --labeled_fraction?",
        ),
        ("train", ("--x", "--stesp=1", "--batchsize=2"), "did you mean --steps, --batch_size?"),
        ("train", ("--qqqq", "1"), "arguments: --qqqq 1; see"),
        ("train", ("--steps",), "--steps"),
        ("train", ("--dataset", "folder"), "--data_dir"),
        ("train", ("--labeled_list", "a", "--labeled_fraction", "1"), "give one of them"),
        ("evaluate", (), "--run_dir"),
        ("evaluate", ("--run_dir", "no/run"), "no/run"),
        ("evaluate", ("--runs", "x"), "--runs"),
        ("evaluate", ("--saved_model", "no/model", "--images", "."), "no/model"),
        ("export", ("--run_dir", "no/run", "--output", "x"), "no/run"),
        ("export", ("--run_dir", "no/run"), "--output"),
    ],
)
def test_wrong_flags(fails, name, flags, says):
    fails(name, *flags, says=says)


# Data


@pytest.mark.parametrize(
    "damage",
    [
        *(damages.lose_image, damages.lose_validation_label, damages.label_no_class),
        *(damages.label_another_size, damages.label_in_colours, damages.cut_training_images),
        *(damages.cut_validation_image, damages.cut_label, damages.foreign_format),
        *(damages.empty_list, damages.lose_list, damages.repeat_id, damages.leave_folder),
        *(damages.lose_folder, damages.lose_classes, damages.break_classes),
        damages.colourless_class,
    ],
    ids=lambda damage: damage.__name__,
)
def test_wrong_data_is_found_before_training(data, fails, damage):
    fails("train", *train_flags(data), says=damage(data))
    assert not (data.parent / "run").exists()


def test_fault_of_a_file_is_told_with_the_command_that_tells_all(data, fails):
    command = f"prepare check --dataset folder --data_dir {data}"
    fails("train", *train_flags(data), says=(*damages.label_no_class(data), command))


def test_cut_off_unlabeled_image_is_found_before_training(data, fails):
    listed = data.parent / "labeled.txt"
    listed.write_text("train_0\n")
    damages.cut_every(data / "JPEGImages", "train_3.jpg")
    (data / "SegmentationClass" / "train_3.png").unlink()
    flags = [flag for flag in train_flags(data) if flag not in ("--labeled_fraction", "0.5")]
    fails("train", *flags, "--labeled_list", listed, says="train_3.jpg")


@pytest.mark.parametrize(
    ("content", "says"), [("train_0\nval_0\n", "val_0"), ("\n", "empty"), (None, "labeled.txt")]
)
def test_wrong_labeled_list(data, fails, content, says):
    listed = data.parent / "labeled.txt"
    if content is not None:
        listed.write_text(content)
    flags = [flag for flag in train_flags(data) if flag not in ("--labeled_fraction", "0.5")]
    fails("train", *flags, "--labeled_list", listed, says=("labeled.txt", says))


@pytest.mark.slow  # Files that are found when they are read are in test_unreadable.py too.
@pytest.mark.parametrize("image_id", ["train_0", "val_1"])
def test_image_that_is_damaged_inside_is_found_when_it_is_read(data, fails, image_id):
    """Its header and its end are right, so that only decoding can tell."""
    name = damages.damage_inside(data, image_id)
    flags = ("--method", "baseline", "--labeled_fraction", "1", "--batch_size", "4")
    fails("train", *train_flags(data), *flags, says=(name, "is damaged or cut off"))


def test_crop_larger_than_the_images_trains(data):
    flags = ("--crop_size", "80,100", "--input_scale", "0.5", "--method", "baseline")
    assert call("train", *train_flags(data), *flags) == 0
    results = json.loads((data.parent / "run" / "results.json").read_text())
    assert results["steps"] == 1
    assert results["images_per_second"] is None  # The first step, which traces, is not timed.


# Without TensorFlow, which takes seconds to load

#: Runs the scripts of the command lines that it is given, one after the other, and tells the code
#: and the output of each.
EACH = """
import contextlib, io, json, sys
from tests.runs import call
for command in json.loads(sys.argv[1]):
    with (
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        code = call(*command)
    print(json.dumps([code, output.getvalue(), errors.getvalue()]))
"""


@pytest.fixture
def no_tensorflow(tmp_path):
    """Variables for a process in which TensorFlow cannot be imported."""
    package = tmp_path / "path" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('TensorFlow was imported')")
    return {"PYTHONPATH": str(package.parent)}


def call_each(commands, env):
    """Runs scripts in one process: (name, flag, ...); returns [code, output, errors] of each."""
    lines = json.dumps([[str(part) for part in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", EACH, lines],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_flags_and_data_are_checked_without_tensorflow(data, no_tensorflow):
    damages.label_no_class(data)
    finished, gone = ("--run_dir", shared_run().folder), ("--data_dir", data / "gone")
    cases = [
        (("train", "--method", "magic"), "--method"),
        (("train", *train_flags(data, *gone)), "gone"),
        (("train", *train_flags(data)), "77"),
        (("evaluate", "--run_dir", data), str(data)),
        (("evaluate", *finished, *gone), "gone"),
        (("export", "--output"), "--output"),
    ]
    found = call_each([command for command, _ in cases], no_tensorflow)
    for (_, says), (code, output, errors) in zip(cases, found, strict=True):
        assert (code, output.count("\n")) == (2, 0), errors
        one_line(errors, says)
        assert len(errors.splitlines()) == 1


def test_help_and_finished_runs_need_no_tensorflow(no_tensorflow):
    for name in ("train", "evaluate", "export"):
        done = script(name, "--help", env=no_tensorflow)
        assert done.returncode == 0, done.stderr
        assert "--run_dir" in done.stdout
    done = script("train", "--run_dir", shared_run().folder, "--resume", env=no_tensorflow)
    assert (done.returncode, done.stderr) == (0, "")


def test_error_is_the_last_line_when_tensorflow_has_run(tmp_path):
    flags = ("--run_dir", shared_run().folder, "--checkpoint", tmp_path / "gone")
    done = script("evaluate", *flags)
    assert done.returncode == 2
    one_line(done.stderr, str(tmp_path / "gone"))
