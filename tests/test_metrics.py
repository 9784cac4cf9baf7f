"""Metrics against a matrix counted by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.evaluation import metrics

LABELS = np.array([[[0, 0, 0, 1], [1, 1, 255, 255], [2, 2, 0, 255]]])
PREDICTED = np.array([[[0, 0, 1, 1], [1, 0, 0, 2], [1, 1, 0, 3]]])
# Class 2 occurs in the truth only; class 3 only at a void pixel, so nowhere.
CONFUSION = [[3, 1, 0, 0], [1, 2, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]]


def test_confusion_matrix_counts_true_rows_and_predicted_columns_without_void():
    counted = metrics.confusion_matrix(tf.constant(LABELS), tf.constant(PREDICTED), 4)
    assert counted.dtype == tf.int64
    assert counted.numpy().tolist() == CONFUSION


def test_confusion_matrix_takes_bytes():
    # 15 * 21 + 20 does not fit into a byte.
    label, predicted = tf.constant([[20, 15]], tf.uint8), tf.constant([[3, 20]], tf.uint8)
    counted = metrics.confusion_matrix(label, predicted, 21).numpy()
    assert counted[20, 3] == counted[15, 20] == 1
    assert counted.sum() == 2


def test_iou_of_each_class_is_intersection_over_union():
    iou = metrics.per_class_iou(np.array(CONFUSION))
    # Unions: 4 + 4 - 3, 3 + 5 - 2, 2 + 0 - 0.
    np.testing.assert_allclose(iou[:3], [3 / 5, 2 / 6, 0])
    assert math.isnan(iou[3])


def test_class_only_in_the_prediction_counts_as_zero():
    iou = metrics.per_class_iou(np.array([[5, 1], [0, 0]]))
    np.testing.assert_allclose(iou, [5 / 6, 0])


def test_mean_iou_is_over_the_classes_that_occur():
    assert metrics.mean_iou(np.array(CONFUSION)) == pytest.approx((3 / 5 + 2 / 6 + 0) / 3)


def test_pixel_accuracy_is_the_share_of_the_counted_pixels():
    assert metrics.pixel_accuracy(np.array(CONFUSION)) == pytest.approx(5 / 9)


def test_nothing_counted_gives_nan():
    nothing = np.zeros((3, 3), np.int64)
    assert np.isnan(metrics.per_class_iou(nothing)).all()
    assert math.isnan(metrics.mean_iou(nothing))
    assert math.isnan(metrics.pixel_accuracy(nothing))


def test_iou_of_a_count_beyond_32_bits_is_exact():
    huge = np.array([[2**40, 2**40], [0, 2**41]])
    np.testing.assert_allclose(metrics.per_class_iou(huge), [1 / 2, 2 / 3])


def test_keras_metric_equals_the_numpy_functions_over_batches_and_resets():
    generator = np.random.default_rng(0)
    metric = metrics.MeanIoU(4)
    labels = generator.choice([0, 1, 2, 255], (3, 2, 5, 6))  # Class 3 is never true.
    logits = generator.normal(size=(3, 2, 5, 6, 4)).astype(np.float32)
    logits[..., 3] = -100  # Nor predicted.
    for batch in range(3):
        metric.update_state(labels[batch], logits[batch])
    confusion = np.zeros((4, 4), np.int64)
    for true, predicted in zip(labels.ravel(), logits.argmax(-1).ravel()):
        if true != 255:
            confusion[true, predicted] += 1
    assert float(metric.result()) == pytest.approx(metrics.mean_iou(confusion), rel=1e-6)
    metric.reset_state()
    metric.update_state(labels[1], logits[1])
    metric.reset_state()
    metric.update_state(np.array([[[0, 1]]]), np.array([[[[9.0, 0, 0, 0], [0, 9, 0, 0]]]]))
    assert float(metric.result()) == 1


def test_keras_metric_averages_counts_and_not_batches():
    metric = metrics.MeanIoU(2)

    def update(labels, predicted):
        metric.update_state(np.array([[labels]]), np.eye(2)[[[predicted]]])

    update([0, 0, 0, 1], [0, 0, 0, 0])
    update([1, 1, 1, 1], [1, 1, 1, 1])
    # Together: class 0 is 3 of 4, class 1 is 4 of 5.
    assert float(metric.result()) == pytest.approx((3 / 4 + 4 / 5) / 2)
