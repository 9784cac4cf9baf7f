"""Two runs' scores side by side."""

import pytest

from tests.runs import call, copy_of, fails_with, shared_run
from tf_advseg.errors import InputError
from tf_advseg.evaluation import comparison, results

FULL = "full images"
OWN = {
    "method": "semi_plus",
    "labeled_images": 60,
    "per_class_iou": {"sky": 0.5, "a long name": 0.25, "car": None, "bus": 0.1},
    "mean_iou": 0.2833,
    "pixel_accuracy": 0.75,
}
OTHER = {
    "method": "baseline",
    "labeled_images": 60,
    "per_class_iou": {"sky": 0.55, "a long name": 0.125, "car": 0.5, "bus": None},
    "mean_iou": 0.39,
    "pixel_accuracy": 0.7,
}


def test_table_has_both_runs_and_what_the_evaluated_one_has_more():
    assert comparison.table(OWN, OTHER).splitlines() == [
        "IoU %           baseline, 60 labels  semi_plus, 60 labels  difference",
        "sky                           55.00                 50.00       -5.00",
        "a long name                   12.50                 25.00      +12.50",
        "car                           50.00                absent           -",
        "bus                          absent                 10.00           -",
        "---------------------------------------------------------------------",
        "mean IoU                      39.00                 28.33      -10.67",
        "pixel accuracy                70.00                 75.00       +5.00",
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"protocol": "images padded to 9x9"}, "was measured on images padded to 9x9; allowed: "),
        ({"per_class_iou": {"sky": 0.1}}, "has the classes sky; allowed: .* sky, a long name, car"),
    ],
)
def test_only_scores_of_one_kind_are_compared(tmp_path, changes, says):
    values = {**OTHER, "steps": 10, "protocol": FULL, **changes}
    results.write(tmp_path / results.RESULTS_FILE, values)
    if says is None:
        assert comparison.other_run(tmp_path, tuple(OWN["per_class_iou"]), FULL)["mean_iou"] == 0.39
        return
    with pytest.raises(InputError, match=says):
        comparison.other_run(tmp_path, tuple(OWN["per_class_iou"]), FULL)


def test_evaluation_is_shown_beside_another_run(tmp_path, capsys):
    run_dir = copy_of(shared_run(), tmp_path / "run")
    trained = shared_run().read("results.json")
    better = {name: iou and iou + 0.01 for name, iou in trained["per_class_iou"].items()}
    values = {**trained, "per_class_iou": better, "method": "adv"}
    results.write(tmp_path / results.RESULTS_FILE, values)
    assert call("evaluate", "--run_dir", run_dir, "--compare", tmp_path) == 0
    shown = capsys.readouterr().out.split("difference\n")[1].split("\n\n")[0].splitlines()
    ends = {line[:15].strip(): line.split()[-1] for line in shown}
    for name, iou in trained["per_class_iou"].items():
        if iou is not None:
            assert float(ends[name]) == pytest.approx(-1, abs=0.02)
    assert float(ends["mean IoU"]) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--compare", "nowhere"), "--compare nowhere is no folder"),
        (("--compare", "tests"), "--compare tests holds no results.json; train it first"),
        (("--compare", "tests", "--flip"), "--flip means nothing beside --compare"),
    ],
)
def test_run_that_cannot_be_compared_with_is_refused_before_work(flags, says, capsys):
    fails_with(capsys, "evaluate", "--run_dir", shared_run().folder, *flags, says=says)
