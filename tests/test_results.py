"""What a made-up evaluation becomes: the values, table and file of its scores."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.errors import InputError
from tf_advseg.evaluation import results, selection, tables
from tf_advseg.evaluation.evaluator import Scores
from tf_advseg.evaluation.selection import Histogram

NAMES = ("sky", "road", "car", "bus")
T_SEMI = 0.3


def histogram(confidence, right):
    """Counts pixels that are right (1) or wrong (0)."""
    label = tf.ones_like(right, tf.int32)
    thresholds = selection.thresholds_with(T_SEMI)
    confidence = tf.constant(confidence, tf.float32)
    counts = selection.count(confidence, label, tf.cast(right, tf.int32), thresholds)
    return Histogram(thresholds, counts.numpy())


# 20 pixels: IoU 6/10, 8/10, 2/4 and none; 16 right; 10 selected, 9 of them right. Of the 16 * 4
# pairs of a right and a wrong pixel, 9 * 3 are in order by confidence, and 9 * 1 + 7 * 3 are ties.
RIGHT = [1] * 9 + [0] + [1] * 7 + [0] * 3
HAND_MADE = Scores(
    np.array([[6, 1, 1, 0], [1, 8, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]),
    histogram([0.75] * 10 + [0.25] * 10, RIGHT),
    histogram([0.9 if right else 0.5 for right in RIGHT], RIGHT),
    T_SEMI,
    images=2,
    cross_entropy_sum=20.0,
)


def test_split_without_a_labeled_pixel_has_no_scores():
    nothing = histogram([], [])
    scores = Scores(np.zeros((4, 4), np.int64), nothing, nothing, T_SEMI, 1, 0.0)
    assert scores.selected == 0
    assert math.isnan(scores.mean_iou)
    assert math.isnan(scores.pixel_accuracy)
    assert math.isnan(scores.selected_fraction)
    assert math.isnan(scores.selected_accuracy)
    assert set(scores.per_class_iou(NAMES).values()) == {None}


def test_score_values_are_the_scores():
    values = tables.score_values(HAND_MADE, NAMES, selects=True)
    assert values["mean_iou"] == pytest.approx((6 / 10 + 8 / 10 + 2 / 4) / 3)
    assert values["pixel_accuracy"] == 16 / 20
    assert values["per_class_iou"]["car"] == 2 / 4
    assert values["per_class_iou"]["bus"] is None
    assert values["selected_fraction"] == 10 / 20
    assert values["selected_accuracy"] == 9 / 10
    assert values["confidence_auc"] == pytest.approx((27 + 30 / 2) / 64)
    assert values["probability_auc"] == 1
    rows = values["selection"]
    assert [row["t_semi"] for row in rows] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [row["fraction"] for row in rows] == [1] * 3 + [0.5] * 5 + [0] * 2
    assert [row["accuracy"] for row in rows[:8]] == [16 / 20] * 3 + [9 / 10] * 5


def test_selection_without_a_discriminator_means_nothing():
    values = tables.score_values(HAND_MADE, NAMES, selects=False)
    assert values["selected_fraction"] is None
    assert values["selected_accuracy"] is None
    assert values["selection"] is None
    assert values["confidence_auc"] is None
    assert values["probability_auc"] == 1
    shown = tables.table(HAND_MADE, NAMES, selects=False)
    assert "selected" not in shown
    assert "T_semi" not in shown
    assert "by confidence" not in shown
    assert shown.splitlines()[-1].split() == ["by", "largest", "probability", "1.0000"]


def test_table_shows_every_class_and_the_means():
    lines = tables.table(HAND_MADE, NAMES, selects=True).splitlines()
    cells = [line.split() for line in lines]
    assert cells[1] == ["sky", "60.00", "40.00"]
    assert cells[2] == ["road", "80.00", "45.00"]
    assert cells[3] == ["car", "50.00", "15.00"]
    assert cells[4] == ["bus", "absent", "0.00"]
    assert cells[6] == ["mean", "IoU", "63.33"]
    assert cells[7] == ["pixel", "accuracy", "80.00"]
    assert cells[8][:2] == ["selected", "50.00"]
    assert "90.00 %" in lines[8]
    # The columns line up.
    assert len({len(line) for line in lines[:5]}) == 1


def test_selection_is_shown_by_threshold_and_the_areas_below_it():
    lines = tables.table(HAND_MADE, NAMES, selects=True).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("T_semi"))
    thresholds, selected, right = (line.split() for line in lines[start : start + 3])
    assert thresholds == ["T_semi", "0", *(f"0.{tenths}" for tenths in range(1, 10))]
    assert selected == ["selected", "%", *["100.0"] * 3, *["50.0"] * 5, *["0.0"] * 2]
    assert right == ["of", "them", "right", "%", *["80.0"] * 3, *["90.0"] * 5, "-", "-"]
    assert len({len(line) for line in lines[start : start + 3]}) == 1
    assert len(lines[start]) < 80
    assert lines[-2].split() == ["by", "confidence", "0.6562"]
    assert lines[-1].split() == ["by", "largest", "probability", "1.0000"]


def test_area_of_pixels_that_are_all_right_is_said_to_be_none():
    all_right = histogram([0.2, 0.9], [1, 1])
    scores = Scores(np.diag([1, 1, 0, 0]), all_right, all_right, T_SEMI, 1, 0.0)
    lines = tables.table(scores, NAMES, selects=True).splitlines()
    assert lines[-2].endswith("none: all pixels are of one kind")
    assert lines[-1].endswith("none: all pixels are of one kind")


def test_results_file_has_every_key_and_null_for_nan(tmp_path):
    path = tmp_path / "results.json"
    results.write(
        path,
        {
            "mean_iou": 0.5,
            "pixel_accuracy": math.nan,
            "per_class_iou": {"a": None},
            "seed": 0,
            "steps": 7,
            "selection": [{"t_semi": 0.9, "fraction": 0.0, "accuracy": math.nan}],
        },
    )

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads(path.read_text(), parse_constant=refuse)
    assert tuple(document) == results.RESULT_KEYS
    assert document["mean_iou"] == 0.5
    assert document["pixel_accuracy"] is None
    assert document["per_class_iou"] == {"a": None}
    assert document["seed"] == 0
    assert document["selection"] == [{"t_semi": 0.9, "fraction": 0.0, "accuracy": None}]
    assert document["steps"] == 7
    assert document["best_mean_iou"] is None
    assert results.read(path) == document
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_results_file_has_the_promised_keys():
    promised = """
        mean_iou best_mean_iou pixel_accuracy per_class_iou steps images_per_second
        peak_memory_bytes selected_fraction method dataset seed labeled_images unlabeled_images
        selection confidence_auc probability_auc
    """
    assert set(promised.split()) <= set(results.RESULT_KEYS)


def test_run_is_finished_once_its_results_are_of_its_last_step(tmp_path, capsys):
    assert not results.is_finished(tmp_path, 10)
    results.warn_unfinished(tmp_path, 10)
    assert f"warning: {tmp_path} has not taken its 10 steps yet" in capsys.readouterr().err
    results.write(tmp_path / "results.json", {"steps": 10})
    assert [results.is_finished(tmp_path, steps) for steps in (9, 10, 11)] == [True, True, False]
    results.warn_unfinished(tmp_path, 10)
    assert capsys.readouterr().err == ""


def test_unknown_result_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(KeyError, match="miou"):
        results.write(tmp_path / "results.json", {"miou": 1.0})
    assert not list(tmp_path.iterdir())


def test_reading_results_that_are_missing_or_broken(tmp_path):
    path = tmp_path / "results.json"
    assert results.read(path) is None
    for text in ("{", "[1]", "\udcff"):
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        with pytest.raises(InputError, match=r"results\.json"):
            results.read(path)
