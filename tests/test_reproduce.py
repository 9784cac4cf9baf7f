"""The results table: its flags, and which runs it has."""

import dataclasses

import pytest
from planned_tables import finish

from tf_advseg import flags
from tf_advseg.errors import InputError
from tf_advseg.reproduce import gather, grid, settings, write


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("1/8", 0.125), ("0.3", 0.3), ("1", 1.0), ("full", 1.0), ("1/3", 1 / 3), ("1e-1", 0.1)],
)
def test_fractions_are_read_as_people_write_them(text, fraction):
    assert flags.parse_share(text) == fraction


@pytest.mark.parametrize(
    "text",
    ["0", "1.01", "-1/8", "1/0", "half", "", "nan", "inf", "1/inf", "1e400", "1e99999999", "1/2/4"],
)
def test_wrong_fraction_is_refused(text):
    with pytest.raises(InputError, match="--fractions"):
        settings.parse(["--fractions", text])


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (0.125, "1/8"),
        (0.5, "1/2"),
        (1.0, "full"),
        (0.3, "3/10"),
        (1 / 3, "1/3"),
        (0.1234, "0.1234"),
    ],
)
def test_fractions_are_shown_as_people_write_them(fraction, shown):
    assert grid.show_fraction(fraction) == shown


@pytest.mark.parametrize(
    ("flag", "value", "instead"),
    [
        ("--method", "adv", "--methods"),
        ("--labeled_fraction", "0.5", "--fractions"),
        ("--labeled_list", "ids.txt", "--fractions"),
        ("--seed", "3", "--seeds"),
        ("--run_dir", "runs/x", "--output_dir"),
    ],
)
def test_flag_that_differs_between_runs_is_refused(flag, value, instead):
    for arguments in ([flag, value], [f"{flag}={value}"]):
        with pytest.raises(InputError, match=f"{flag} .*allowed: {instead}"):
            settings.parse(arguments)


def test_resume_is_always_on():
    with pytest.raises(InputError, match="--resume is always on"):
        settings.parse(["--resume"])


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--methods", "adv,adv"), ("--methods", "gan"), ("--seeds", "-1"), ("--seeds", "0,0")],
)
def test_wrong_list_is_refused(flag, value):
    with pytest.raises(InputError, match=f"{flag} is '{value}'"):
        settings.parse([flag, value])


def test_grid_has_each_method_fraction_and_seed_once(planned):
    made = planned("--fractions", "1/4,full", "--seeds", "0,1")
    assert [run.title for run in made.runs] == [
        *("baseline 1/4 seed 0", "baseline 1/4 seed 1"),
        *("adv 1/4 seed 0", "adv 1/4 seed 1"),
        *("semi 1/4 seed 0", "semi 1/4 seed 1"),
        # `semi` on full data means nothing.
        *("baseline full seed 0", "baseline full seed 1"),
        *("adv full seed 0", "adv full seed 1"),
    ]
    assert len({run.folder for run in made.runs}) == len(made.runs)
    assert made.labeled_images == {0.25: 2, 1.0: 8}


def test_fraction_without_a_run_keeps_its_column(planned):
    made = planned("--fractions", "1/2,full", "--methods", "semi")
    text = write.markdown(gather.gather(made), "a command")
    assert "| method | 1/2 (4 labeled) | full (8 labeled) |" in text
    assert "| `semi` | not finished | - |" in text


def test_flags_are_checked_with_the_methods_that_are_run(planned):
    # With `semi`, its unlabeled fakes and the coin would contradict each other.
    made = planned("--preset", "authors", "--mixing", "coin_flip", "--methods", "adv")
    assert {run.settings.method for run in made.runs} == {"adv"}


def test_semi_has_a_run_on_full_data_where_images_without_label_are_left(planned, table_data_dir):
    (table_data_dir / "SegmentationClass" / "train_3.png").unlink()
    made = planned("--fractions", "full", "--methods", "semi")
    assert [(run.title, run.labeled_images) for run in made.runs] == [("semi full seed 0", 7)]


def test_grid_without_any_run_is_refused(planned):
    with pytest.raises(InputError, match="no image would be unlabeled"):
        planned("--fractions", "full", "--methods", "semi")


def test_flags_of_training_reach_every_run(planned):
    made = planned("--preset", "paper", "--t_semi", "0.3", "--fractions", "1/2", "--seeds", "7")
    for run in made.runs:
        assert run.settings.t_semi == 0.3
        assert run.settings.lambda_adv == 0.01
        assert run.settings.seed == 7
        assert run.settings.steps == 10
        assert run.shown_command.startswith("python train.py --dataset folder --data_dir ")
        assert run.command[1].endswith("train.py")
        assert run.command[2:] == list(run.arguments)


def test_wrong_flag_of_training_is_told_before_any_run(planned):
    with pytest.raises(InputError, match="--t_semi is '2'"):
        planned("--t_semi", "2")
    with pytest.raises(InputError, match=r"unrecognized arguments: --stepps.* mean --steps\?"):
        planned("--stepps", "3")


def test_run_of_other_settings_in_the_folder_is_told_before_any_run(planned):
    arguments = ("--fractions", "1/2", "--t_semi", "0.3")
    run = planned(*arguments).runs[0]
    run.folder.mkdir(parents=True)
    # What a run decides when it begins is no other setting.
    began = dataclasses.replace(run.settings, normalization="caffe", precision="float32")
    (run.folder / "config.json").write_text(flags.to_json(began))
    assert planned(*arguments, "--eval_every", "3").runs[0].settings.t_semi == 0.3
    with pytest.raises(InputError, match=r"--t_semi was 0\.3"):
        planned("--fractions", "1/2", "--t_semi", "0.4")
    # Left out, train.py would go on with the old value, beside new runs with the default.
    with pytest.raises(InputError, match=r"--t_semi would be 0\.7, and was 0\.3 in .*baseline"):
        planned("--fractions", "1/2", "--seeds", "0,1")
    with pytest.raises(InputError, match="--steps would be 20, and was 10"):
        planned(*arguments, "--steps", "20")


def test_damaged_results_are_told(planned):
    run = planned("--fractions", "1/2").runs[0]
    run.folder.mkdir(parents=True)
    for text in ("{}", '{"steps": null}', "[]", "{"):
        (run.folder / "results.json").write_text(text)
        with pytest.raises(InputError, match=r"results\.json"):
            gather.outcome_of(run)
    (run.folder / "results.json").write_text('{"steps": 10}')  # Of an older version, say.
    assert gather.outcome_of(run).mean_iou is None


def test_steps_of_an_interrupted_run_are_known(planned):
    run = planned("--fractions", "1/2").runs[0]
    assert gather.steps_taken(run) == 0
    (run.folder / "checkpoints").mkdir(parents=True)
    for step in (5, 10, 9):
        (run.folder / "checkpoints" / f"step-{step}.index").touch()
    assert gather.steps_taken(run) == 10
    (run.folder / "checkpoints" / "step-20 (copy).index").touch()
    assert gather.steps_taken(run) == 10


def test_only_the_last_step_finishes_a_run(planned):
    first, second, third = planned("--fractions", "1/2").runs
    finish(first, 0.5)
    finish(second, 0.5, steps=9)
    assert gather.outcome_of(first).mean_iou == 0.5
    assert gather.outcome_of(second) is None
    assert gather.outcome_of(third) is None
