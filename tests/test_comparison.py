"""Two runs' scores side by side."""

import dataclasses
import json
import re

import pytest

import evaluate
from tests.runs import call, copy_of, fails_with, shared_run
from tf_advseg import config, flags
from tf_advseg.errors import InputError
from tf_advseg.evaluation import comparison, results

OWN = comparison.Scored(
    "demo",
    {
        "per_class_iou": {"sky": 0.5, "a long name": 0.25, "car": None, "bus": 0.1},
        "mean_iou": 0.2833,
        "pixel_accuracy": 0.75,
    },
)
OTHER = comparison.Scored(
    "without",
    {
        "per_class_iou": {"sky": 0.55, "a long name": 0.125, "car": 0.5, "bus": None},
        "mean_iou": 0.39,
        "pixel_accuracy": 0.7,
    },
)


def test_table_has_both_runs_and_what_the_evaluated_one_has_more():
    assert comparison.table(OWN, OTHER).splitlines() == [
        "IoU %           without     demo  difference",
        "sky               55.00    50.00       -5.00",
        "a long name       12.50    25.00      +12.50",
        "car               50.00   absent           -",
        "bus              absent    10.00           -",
        "--------------------------------------------",
        "mean IoU          39.00    28.33      -10.67",
        "pixel accuracy    70.00    75.00       +5.00",
    ]


def change(run_dir, results_too=None, **settings):
    """Changes what a run's folder says of its settings and results."""
    stored = dataclasses.replace(config.stored_config(run_dir), **settings)
    (run_dir / "config.json").write_text(flags.to_json(stored))
    values = json.loads((run_dir / "results.json").read_text())
    results.write(run_dir / "results.json", {**values, **(results_too or {})})


@pytest.fixture
def other(tmp_path):
    """A copy of the shared run."""
    return copy_of(shared_run(), tmp_path / "other")


def test_evaluation_is_shown_beside_another_run(other, tmp_path, capsys):
    run_dir = copy_of(shared_run(), tmp_path / "run")
    ious = shared_run().read("results.json")["per_class_iou"]
    change(other, {"per_class_iou": {name: iou and iou + 0.01 for name, iou in ious.items()}})
    assert call("evaluate", "--run_dir", run_dir, "--compare", other) == 0
    shown = capsys.readouterr().out.split("difference\n")[1].split("\n\n")[0].splitlines()
    ends = {line[:15].strip(): line.split()[-1] for line in shown}
    for name, iou in ious.items():
        if iou is not None:
            assert float(ends[name]) == pytest.approx(-1, abs=0.02)
    assert float(ends["mean IoU"]) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"val_split": "test"}, "--compare .*other has --val_split test; allowed: as the run, val"),
        ({"steps": 99}, "--compare .*other has not taken its 99 steps yet"),
        ({"results_too": {"per_class_iou": 5}}, r"results\.json has no scores that can be compare"),
        ({"results_too": {"mean_iou": "high"}}, r"results\.json has no scores that can be compare"),
        ({"results_too": {"per_class_iou": {"sky": 0.1}}}, "other is of .* with the classes sky; "),
        ({"results_too": {"dataset": "pets"}}, "other is of pets with .*; allowed: as the run, "),
    ],
)
def test_only_scores_of_one_kind_are_compared(other, changes, says, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "split_files", lambda *_: pytest.fail("labels were read"))
    change(other, **changes)
    assert call("evaluate", "--run_dir", shared_run().folder, "--compare", other) == 2
    assert re.search(says, capsys.readouterr().err.splitlines()[-1])


def test_random_crops_of_another_seed_and_a_best_checkpoint_are_not_compared(other):
    stored = dataclasses.asdict(config.stored_config(shared_run().folder))
    crops = {"eval_protocol": "random_crop", "eval_size": (9, 9)}
    change(other, seed=4, **crops)
    with pytest.raises(InputError, match="random crops of --seed 4; allowed: as the run, 3"):
        comparison.other_run(other, stored | crops, "streets", ())
    change(other, seed=3, **crops)
    with pytest.raises(InputError, match="at its best; allowed: a run with --eval_checkpoint last"):
        comparison.other_run(other, stored | crops | {"eval_checkpoint": "best"}, "streets", ())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--run_dir", "tests", "--compare", "tests"), "--run_dir tests holds no run"),
        (("--saved_model", "tests", "--data_dir", "d", "--compare", "tests"), "needs --run_dir"),
    ],
)
def test_wrong_flags_are_told(arguments, says, capsys):
    fails_with(capsys, "evaluate", *arguments, says=says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--compare", "tests"), "--compare tests holds no run"),
        (("--compare", "tests", "--flip"), "--flip means nothing beside --compare"),
        (("--compare", "tests", "--checkpoint", "best"), "--checkpoint means nothing beside"),
    ],
)
def test_run_that_cannot_be_compared_with_is_refused(arguments, says, capsys):
    fails_with(capsys, "evaluate", "--run_dir", shared_run().folder, *arguments, says=says)
