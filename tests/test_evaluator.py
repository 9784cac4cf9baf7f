"""Scores of a split against counts made pixel by pixel; the files and tables they go to."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.errors import InputError
from tf_advseg.evaluation import evaluator, report, results
from tf_advseg.evaluation.evaluator import Scores
from tf_advseg.evaluation.inference import Prediction

NAMES = ("sky", "road", "car", "bus")
SIZES = [(3, 4), (1, 1), (5, 2), (6, 7)]
T_SEMI = 0.3


def split(seed=0):
    """Images whose red channel is the prediction and whose green one is the confidence in %."""
    generator = np.random.default_rng(seed)
    pairs = []
    for size in SIZES:
        image = np.zeros((*size, 3), np.uint8)
        image[..., 0] = generator.integers(0, 3, size)
        image[..., 1] = generator.integers(0, 100, size)
        label = generator.choice([0, 1, 2, 255], size).astype(np.uint8)
        pairs.append((tf.constant(image), tf.constant(label)))
    return pairs


def read_prediction(images):
    images = tf.cast(images, tf.int32)
    class_ids = images[..., 0]
    confidence = tf.cast(images[..., 1], tf.float32) / 100 + 0.005
    return Prediction(class_ids, tf.one_hot(class_ids, 4), confidence)


def test_scores_equal_counts_over_images_of_many_sizes():
    scores = evaluator.evaluate(read_prediction, split(), 4, T_SEMI)
    confusion = np.zeros((4, 4), np.int64)
    selected = selected_right = 0
    for image, label in split():
        for (red, green, _), true in zip(image.numpy().reshape(-1, 3), label.numpy().ravel()):
            if true == 255:
                continue
            confusion[true, red] += 1
            if green >= 30:
                selected += 1
                selected_right += int(red == true)
    np.testing.assert_array_equal(scores.confusion, confusion)
    assert (scores.selected, scores.selected_right) == (selected, selected_right)
    assert 0 < selected_right < selected < confusion.sum()
    assert scores.images == len(SIZES)
    assert scores.selected_fraction == selected / confusion.sum()
    assert scores.selected_accuracy == selected_right / selected
    assert scores.pixel_accuracy == np.trace(confusion) / confusion.sum()
    iou = [
        confusion[c, c] / (confusion[c].sum() + confusion[:, c].sum() - confusion[c, c])
        for c in range(3)
    ]
    assert scores.mean_iou == pytest.approx(np.mean(iou))
    assert scores.per_class_iou(NAMES) == {
        "sky": pytest.approx(iou[0]),
        "road": pytest.approx(iou[1]),
        "car": pytest.approx(iou[2]),
        "bus": None,
    }


def test_confidence_at_the_threshold_is_not_selected():
    prediction = Prediction(
        tf.zeros([1, 1, 2], tf.int32), tf.ones([1, 1, 2, 1]), tf.constant([[[0.5, 0.75]]])
    )
    image, label = tf.zeros([1, 2, 3], tf.uint8), tf.zeros([1, 2], tf.uint8)
    scores = evaluator.evaluate(lambda _: prediction, [(image, label)], 2, 0.5)
    assert (scores.selected, scores.selected_right) == (1, 1)


def test_each_image_is_handed_on_in_order():
    seen = []
    evaluator.evaluate(read_prediction, split(), 4, T_SEMI, lambda *given: seen.append(given))
    assert len(seen) == len(SIZES)
    for (image, label, prediction), (own_image, own_label) in zip(seen, split()):
        np.testing.assert_array_equal(image, own_image)
        np.testing.assert_array_equal(label, own_label)
        np.testing.assert_array_equal(prediction.class_ids[0], own_image[..., 0])


def test_split_without_a_labeled_pixel_has_no_scores():
    scores = Scores(np.zeros((4, 4), np.int64), 0, 0, 1)
    assert math.isnan(scores.mean_iou)
    assert math.isnan(scores.pixel_accuracy)
    assert math.isnan(scores.selected_fraction)
    assert math.isnan(scores.selected_accuracy)
    assert set(scores.per_class_iou(NAMES).values()) == {None}


#: 20 pixels: IoU 6/10, 8/10, 2/4 and none; 16 right; 10 selected, 9 of them right.
HAND_MADE = Scores(
    np.array([[6, 1, 1, 0], [1, 8, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]), 10, 9, images=2
)


def test_score_values_are_the_scores():
    values = report.score_values(HAND_MADE, NAMES, selects=True)
    assert values["mean_iou"] == pytest.approx((6 / 10 + 8 / 10 + 2 / 4) / 3)
    assert values["pixel_accuracy"] == 16 / 20
    assert values["per_class_iou"]["car"] == 2 / 4
    assert values["per_class_iou"]["bus"] is None
    assert values["selected_fraction"] == 10 / 20
    assert values["selected_accuracy"] == 9 / 10


def test_selection_without_a_discriminator_means_nothing():
    values = report.score_values(HAND_MADE, NAMES, selects=False)
    assert values["selected_fraction"] is None
    assert values["selected_accuracy"] is None
    assert "selected" not in report.table(HAND_MADE, NAMES, selects=False)


def test_table_shows_every_class_and_the_means():
    lines = report.table(HAND_MADE, NAMES, selects=True).splitlines()
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


def test_results_file_has_every_key_and_null_for_nan(tmp_path):
    path = tmp_path / "results.json"
    results.write(
        path,
        {"mean_iou": 0.5, "pixel_accuracy": math.nan, "per_class_iou": {"a": None}, "seed": 0},
    )

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads(path.read_text(), parse_constant=refuse)
    assert tuple(document) == results.RESULT_KEYS
    assert document["mean_iou"] == 0.5
    assert document["pixel_accuracy"] is None
    assert document["per_class_iou"] == {"a": None}
    assert document["seed"] == 0
    assert document["steps"] is None
    assert results.read(path) == document
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_results_file_has_the_promised_keys():
    promised = """
        mean_iou best_mean_iou pixel_accuracy per_class_iou steps images_per_second
        peak_memory_bytes selected_fraction method dataset seed labeled_images unlabeled_images
    """
    assert set(promised.split()) <= set(results.RESULT_KEYS)


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
