"""Which value wins, what follows from it, and which combinations are refused."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tf_advseg import flags
from tf_advseg.config import CONFIG_FILE, evaluate_config, export_config, train_config
from tf_advseg.errors import InputError
from tf_advseg.presets import PRESETS
from tf_advseg.train_options import TrainConfig

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Relative paths, such as runs/demo, lie in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def stored_run():
    """Writes the run folder that `argv` would make; returns its configuration."""

    def write(*argv):
        settings = train_config(list(argv))
        run_dir = Path(settings.run_dir)
        run_dir.mkdir(parents=True)
        (run_dir / CONFIG_FILE).write_text(flags.to_json(settings))
        return settings

    return write


def refusal(function, *argv):
    with pytest.raises(InputError) as caught:
        function(list(argv))
    return str(caught.value)


def test_no_flag_is_the_demo(in_empty_folder):
    settings = train_config([])
    assert settings.preset == "demo"
    assert settings.dataset == "shapes"
    assert settings.run_dir == "runs/demo"
    assert settings.data_dir == str(in_empty_folder / "data" / "shapes")
    for name, value in PRESETS["demo"].items():
        assert getattr(settings, name) == value


def test_another_dataset_has_the_default_preset():
    settings = train_config(["--dataset", "folder", "--data_dir", "d"])
    assert settings.preset == "default"
    assert settings.steps == TrainConfig.steps
    assert settings.run_dir == "runs/folder-semi_plus-1-0"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_resolve_to_allowed_values(preset):
    settings = train_config(["--preset", preset])
    assert settings.preset == preset
    for name, value in PRESETS[preset].items():
        assert getattr(settings, name) == value
    for field in dataclasses.fields(TrainConfig):
        value = getattr(settings, field.name)
        if value is not None:
            assert flags.from_text(TrainConfig, field.name, flags.to_text(value)) == value


def test_flag_beats_preset_and_preset_beats_default():
    assert TrainConfig.batch_size != PRESETS["paper"]["batch_size"]
    settings = train_config(["--preset", "paper", "--steps", "80", "--learning_rate", "0.5"])
    assert settings.steps == 80
    assert settings.learning_rate == 0.5
    assert settings.batch_size == PRESETS["paper"]["batch_size"]
    assert settings.momentum == TrainConfig.momentum


def test_paper_preset_has_the_papers_numbers():
    settings = train_config(["--preset", "paper"])
    assert (settings.steps, settings.batch_size, settings.crop_size) == (20000, 10, (321, 321))
    assert (settings.learning_rate, settings.discriminator_learning_rate) == (2.5e-4, 1e-4)
    assert (settings.lambda_adv, settings.lambda_adv_unlabeled) == (0.01, 0.001)
    assert (settings.lambda_semi, settings.t_semi, settings.semi_start) == (0.1, 0.2, 5000)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--steps", "80", "--method", "semi"], {"semi_start": 20}),
        (["--steps", "80"], {"semi_start": 8, "eval_every": 8, "checkpoint_every": 8}),
        (["--steps", "80", "--method", "teacher"], {"semi_start": 8}),
        (["--steps", "80", "--method", "semi_plus"], {"semi_start": 8}),
        (["--steps", "3"], {"semi_start": 0, "eval_every": 1, "checkpoint_every": 1}),
        (["--steps", "80", "--semi_start", "0"], {"semi_start": 0}),
        (["--steps", "80", "--eval_every", "5"], {"eval_every": 5, "checkpoint_every": 5}),
        (["--steps", "80", "--checkpoint_every", "5"], {"eval_every": 8, "checkpoint_every": 5}),
        (["--seed", "3", "--labeled_fraction", "1"], {"run_dir": "runs/shapes-semi_plus-1-3"}),
        (["--method", "adv", "--labeled_fraction", "0.5"], {"run_dir": "runs/shapes-adv-0.5-0"}),
        (["--labeled_fraction", "0.125"], {"run_dir": "runs/shapes-semi_plus-0.125-0"}),
        (["--labeled_list", "ids.txt"], {"run_dir": "runs/shapes-semi_plus-list-0"}),
        (["--preset", "demo"], {"run_dir": "runs/demo"}),
        (["--run_dir", "r", "--steps", "9"], {"run_dir": "r"}),
    ],
)
def test_derived_values(argv, expected):
    settings = train_config(argv)
    assert {name: getattr(settings, name) for name in expected} == expected


def test_paths_of_data_are_stored_absolute(in_empty_folder):
    settings = train_config(["--data_dir", "d", "--labeled_list", "lists/a.txt"])
    assert settings.data_dir == str(in_empty_folder / "d")
    assert settings.labeled_list == str(in_empty_folder / "lists" / "a.txt")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--dataset", "folder"], "--dataset folder needs --data_dir"),
        (["--labeled_list", "a", "--labeled_fraction", "0.5"], "give one of them"),
        (["--output_stride", "12"], "--output_stride is '12'; allowed: one of 8, 16, 32"),
        (["--random_scale", "1.5,0.5"], "--random_scale"),
        (["--weights", "no/such.h5"], "--weights is 'no/such.h5'"),
        (["--method", "magic"], "allowed: one of baseline, adv"),
        (["--preset", "best"], "--preset is 'best'"),
        (["--labeled_fraction", "0"], "--labeled_fraction is '0'"),
        (["--labeled_fraction", "1.5"], "--labeled_fraction is '1.5'"),
        (["--seed", "-1"], "--seed is '-1'"),
    ],
)
def test_what_does_not_fit_is_refused(argv, words):
    assert words in refusal(train_config, *argv)


def test_weights_may_be_a_file(in_empty_folder):
    (in_empty_folder / "w.h5").write_bytes(b"")
    # Absolute, so that a run can be resumed from another folder.
    assert train_config(["--weights", "w.h5"]).weights == str(in_empty_folder / "w.h5")


def test_folder_that_holds_a_run_is_refused_without_resume(stored_run):
    stored_run("--run_dir", "r")
    message = refusal(train_config, "--run_dir", "r")
    assert "--run_dir r holds a run" in message
    assert "--resume" in message


@pytest.mark.parametrize("flag", [[], ["--resume"]])
def test_folder_that_holds_something_else_is_refused(flag):
    Path("r").mkdir()
    assert train_config(["--run_dir", "r", *flag]).run_dir == "r"  # An empty folder starts fresh.
    Path("r/notes.txt").write_text("mine")
    assert "--run_dir r holds other files" in refusal(train_config, "--run_dir", "r", *flag)
    assert "--run_dir r/notes.txt" in refusal(train_config, "--run_dir", "r/notes.txt", *flag)


def test_results_that_were_kept_of_a_finished_run_do_not_make_its_folder_another_one():
    Path("r").mkdir()
    Path("r/results.json").write_text("{}")
    assert train_config(["--run_dir", "r", "--steps", "3", "--resume"]).steps == 3
    assert "--run_dir r holds other files" in refusal(train_config, "--run_dir", "r")


def test_folder_to_resume_that_is_not_there_is_refused_unless_settings_say_what_to_begin():
    message = refusal(train_config, "--run_dir", "rum", "--resume")
    assert "no --run_dir rum to resume" in message and "\n" not in message
    assert train_config(["--run_dir", "rum", "--resume", "--steps", "5"]).steps == 5
    assert train_config(["--resume"]).run_dir == "runs/demo"


def test_resume_takes_the_stored_values(stored_run):
    argv = ["--run_dir", "r", "--dataset", "folder", "--data_dir", "d", "--steps", "40"]
    argv += ["--crop_size", "17,33", "--seed", "5", "--learning_rate", "0.00025"]
    first = stored_run(*argv)
    resumed = train_config(["--run_dir", "r", "--resume"])
    assert resumed == dataclasses.replace(first, resume=True)


def test_resume_may_repeat_the_first_command(stored_run):
    argv = ["--run_dir", "r", "--data_dir", "d", "--labeled_list", "lists/a.txt", "--seed", "1"]
    first = stored_run(*argv)
    assert train_config([*argv, "--resume"]) == dataclasses.replace(first, resume=True)


def test_resume_need_not_repeat_the_data_folder(stored_run):
    first = stored_run("--run_dir", "r", "--dataset", "folder", "--data_dir", "d")
    resumed = train_config(["--run_dir", "r", "--dataset", "folder", "--resume"])
    assert resumed.data_dir == first.data_dir


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "1"), ("crop_size", "99"), ("method", "adv"), ("labeled_list", "other.txt")],
)
def test_resume_refuses_a_changed_setting(name, value, stored_run):
    first = stored_run("--run_dir", "r", "--labeled_list", "a.txt")
    message = refusal(train_config, "--run_dir", "r", "--resume", f"--{name}", value)
    was = flags.to_text(getattr(first, name))
    assert re.match(rf"--{name} was {was} and is .* now: the run in r cannot go on so", message)


def test_resume_may_go_on_longer_and_with_moved_folders(stored_run, in_empty_folder):
    first = stored_run("--run_dir", "r", "--steps", "40")
    Path("r").rename("moved")
    argv = ["--run_dir", "moved", "--resume", "--steps", "80", "--data_dir", "elsewhere"]
    resumed = train_config(argv)
    assert (resumed.run_dir, resumed.steps) == ("moved", 80)
    assert resumed.data_dir == str(in_empty_folder / "elsewhere")
    # What was derived from the first length stays: it decided the steps already done.
    assert resumed.semi_start == first.semi_start == 4


def test_demo_is_resumed_without_naming_its_folder(stored_run):
    first = stored_run()
    assert train_config(["--resume"]) == dataclasses.replace(first, resume=True)


def test_run_moved_to_the_demos_folder_is_resumed_there(stored_run):
    stored_run("--run_dir", "elsewhere")
    Path("runs").mkdir()
    Path("elsewhere").rename("runs/demo")
    assert train_config(["--resume"]).run_dir == "runs/demo"


def test_stored_run_that_is_damaged_is_told(stored_run):
    stored_run("--run_dir", "r")
    Path("r", CONFIG_FILE).write_text('{"steps": ')
    assert f"cannot read r/{CONFIG_FILE}" in refusal(train_config, "--run_dir", "r", "--resume")


def test_recipe_has_the_weights_of_the_flags_under_the_method():
    argv = ["--lambda_adv", "0.3", "--lambda_semi", "0.4", "--t_semi", "0.6", "--semi_start", "7"]
    semi = train_config([*argv, "--method", "semi"]).recipe()
    assert (semi.lambda_adv, semi.lambda_semi, semi.t_semi, semi.semi_start) == (0.3, 0.4, 0.6, 7)
    assert semi.uses_unlabeled and semi.uses_discriminator
    adv = train_config([*argv, "--method", "adv"]).recipe()
    assert (adv.lambda_adv, adv.lambda_semi, adv.lambda_adv_unlabeled) == (0.3, 0.0, 0.0)
    assert adv.uses_discriminator and not adv.uses_unlabeled
    baseline = train_config([*argv, "--method", "baseline"]).recipe()
    assert not baseline.uses_discriminator and not baseline.uses_unlabeled


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "give --run_dir, or --saved_model"),
        (["--saved_model", "r"], "give --run_dir, or --saved_model"),
        (["--run_dir", "none"], "--run_dir none holds no run"),
        (["--run_dir", "r", "--images", "none", "--save_masks", "m"], "--images none is no folder"),
        (["--run_dir", "r", "--images", "r"], "--images needs --save_masks"),
        (["--saved_model", "none", "--data_dir", "d"], "--saved_model none is no folder"),
        (
            ["--saved_model", "r", "--data_dir", "d", "--flip"],
            "--flip means nothing",
        ),
        (["--run_dir", "r", "--scales", "1,0"], "--scales is '1,0'"),
    ],
)
def test_evaluation_refuses_what_does_not_fit(argv, words, stored_run):
    stored_run("--run_dir", "r")
    assert words in refusal(evaluate_config, *argv)


def test_evaluation_takes_its_flags(stored_run):
    stored_run("--run_dir", "r")
    argv = ["--run_dir", "r", "--scales", "0.75,1", "--flip", "--sliding_window", "64,96"]
    settings = evaluate_config(argv)
    assert (settings.scales, settings.flip) == ((0.75, 1.0), True)
    assert settings.sliding_window == (64, 96)
    assert (settings.checkpoint, settings.eval_protocol, settings.eval_size) == (None, None, None)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "give --run_dir and --output"),
        (["--run_dir", "r"], "give --run_dir and --output"),
        (["--run_dir", "none", "--output", "o"], "--run_dir none holds no run"),
    ],
)
def test_export_refuses_what_does_not_fit(argv, words):
    assert words in refusal(export_config, *argv)


@pytest.fixture
def without_tensorflow(tmp_path):
    """The environment of a process in which importing TensorFlow or Keras is an error."""
    folder = tmp_path / "poison"
    for name in ("tensorflow", "keras", "tensorflow_addons"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('{name} was imported')")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def run_python(arguments, environment):
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "export.py"])
def test_help_does_not_import_tensorflow(script, without_tensorflow):
    result = run_python([ROOT / script, "--help"], without_tensorflow)
    assert result.returncode == 0, result.stderr
    assert "--run_dir" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train.py", "--steps", "0"], "--steps is '0'"),
        (["train.py", "--dataset", "folder", "--data_dir", "none"], "none is no folder"),
        (["evaluate.py", "--run_dir", "none"], "--run_dir none holds no run"),
        (["export.py", "--run_dir", "none", "--output", "o"], "--run_dir none holds no run"),
    ],
)
def test_wrong_flag_is_told_in_one_line_before_tensorflow_is_imported(
    arguments, words, without_tensorflow
):
    script, *rest = arguments
    result = run_python([ROOT / script, *rest], without_tensorflow)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and words in line


def test_poison_works(without_tensorflow):
    result = run_python(["-c", "import tensorflow"], without_tensorflow)
    assert "tensorflow was imported" in result.stderr


def test_config_and_data_checks_leave_tensorflow_out():
    code = (
        "import sys\n"
        "from tf_advseg import cli, config, progress\n"
        "from tf_advseg.data import catalog, files, labels, shapes, splits\n"
        "from tf_advseg.reproduce import all_runs, timing\n"
        "print({'tensorflow', 'keras', 'tensorflow_addons'} & set(sys.modules))"
    )
    result = run_python(["-c", code], {**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.stdout == "set()\n", result.stderr
