"""Metrics against sets of pixels, for any labels and predictions."""

import json
import math

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tf_advseg.data import VOID_LABEL
from tf_advseg.evaluation import metrics, results

CLASSES = st.integers(1, 6)


@st.composite
def pixels(draw, most=60):
    """Number of classes, labels with void among them, and predicted class ids."""
    classes = draw(CLASSES)
    count = draw(st.integers(0, most))
    # Of some classes only, or there would hardly be one that occurs nowhere.
    some = st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes)
    true, seen = [*draw(some), VOID_LABEL], draw(some)
    labels = draw(st.lists(st.sampled_from(true), min_size=count, max_size=count))
    predicted = draw(st.lists(st.sampled_from(seen), min_size=count, max_size=count))
    return classes, np.array(labels, np.int32), np.array(predicted, np.int32)


def counted(classes, labels, predicted):
    return metrics.confusion_matrix(tf.constant(labels), tf.constant(predicted), classes).numpy()


def iou_by_sets(classes, labels, predicted):
    """IoU of each class from the sets of its pixels; None where both are empty."""
    found = []
    for index in range(classes):
        truth = {place for place, label in enumerate(labels) if label == index}
        seen = {
            place
            for place, class_id in enumerate(predicted)
            if class_id == index and labels[place] != VOID_LABEL
        }
        found.append(len(truth & seen) / len(truth | seen) if truth | seen else None)
    return found


@given(pixels())
def test_iou_is_that_of_sets(case):
    expected = iou_by_sets(*case)
    confusion = counted(*case)
    iou = metrics.per_class_iou(confusion)
    assert [None if math.isnan(value) else value for value in iou] == expected
    occurring = [value for value in expected if value is not None]
    mean = metrics.mean_iou(confusion)
    if occurring:
        assert math.isclose(mean, sum(occurring) / len(occurring), rel_tol=1e-12)
    else:
        assert math.isnan(mean)


@given(pixels())
def test_keras_metric_is_the_mean_of_sets(case):
    classes, labels, predicted = case
    occurring = [value for value in iou_by_sets(*case) if value is not None]
    metric = metrics.MeanIoU(classes)
    metric.update_state(labels, np.eye(classes, dtype=np.float32)[predicted])
    if occurring:
        assert math.isclose(float(metric.result()), sum(occurring) / len(occurring), rel_tol=1e-5)
    else:
        assert math.isnan(float(metric.result()))


@given(pixels())
def test_accuracy_is_the_share_of_right_pixels(case):
    _, labels, predicted = case
    counts = labels != VOID_LABEL
    accuracy = metrics.pixel_accuracy(counted(*case))
    if counts.any():
        assert math.isclose(accuracy, np.mean((labels == predicted)[counts]), rel_tol=1e-12)
    else:
        assert math.isnan(accuracy)


@given(pixels(), st.integers(0, 60), st.integers(0, 60))
def test_counts_of_parts_add_up(case, first, second):
    classes, labels, predicted = case
    parts = np.array_split(np.arange(len(labels)), sorted((first, second)))
    total = sum(counted(classes, labels[part], predicted[part]) for part in parts)
    np.testing.assert_array_equal(total, counted(*case))


@given(pixels(), st.randoms(use_true_random=False))
def test_other_numbers_of_the_classes_change_only_their_order(case, rng):
    classes, labels, predicted = case
    order = np.array(rng.sample(range(classes), classes))
    renumbered = np.where(labels == VOID_LABEL, VOID_LABEL, order[np.minimum(labels, classes - 1)])
    before, after = counted(*case), counted(classes, renumbered, order[predicted])
    np.testing.assert_array_equal(after[np.ix_(order, order)], before)
    iou = metrics.per_class_iou(after)[order]
    np.testing.assert_array_equal(iou, metrics.per_class_iou(before))
    np.testing.assert_allclose(metrics.mean_iou(after), metrics.mean_iou(before), rtol=1e-12)


@given(pixels(), st.randoms(use_true_random=False))
def test_what_is_predicted_for_void_does_not_matter(case, rng):
    classes, labels, predicted = case
    void = labels == VOID_LABEL
    other = np.where(void, [rng.randrange(classes) for _ in labels], predicted)
    np.testing.assert_array_equal(counted(classes, labels, other), counted(*case))
    kept = counted(classes, labels[~void], predicted[~void])
    np.testing.assert_array_equal(kept, counted(*case))
    assert kept.sum() == (~void).sum()


@given(pixels())
def test_class_that_occurs_nowhere_is_null_in_the_results(tmp_path, case):
    iou = metrics.per_class_iou(counted(*case)).tolist()
    path = tmp_path / results.RESULTS_FILE
    values = {"steps": 1, "per_class_iou": {str(n): value for n, value in enumerate(iou)}}
    results.write(path, values)
    written = json.loads(path.read_text(), parse_constant=lambda word: word)["per_class_iou"]
    assert list(written.values()) == iou_by_sets(*case)
    assert results.read(path)["per_class_iou"] == written
