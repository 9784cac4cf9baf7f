"""Masks of images of many sizes, each under its own name whatever the batches are."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_advseg.data.classes import Classes
from tf_advseg.data.files import LabeledFiles
from tf_advseg.evaluation import masks
from tf_advseg.evaluation.batching import BatchLimit
from tf_advseg.evaluation.inference import Prediction
from tf_advseg.evaluation.protocols import Protocol

CLASSES = Classes("four", ("a", "b", "c", "d"), ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9)))
SIZES = [(4, 6), (6, 4), (4, 6), (5, 5), (4, 6), (6, 4), (4, 6)]
LIMITS = [BatchLimit(1), BatchLimit(2), BatchLimit(3, 50), BatchLimit(100)]


@pytest.fixture
def files(tmp_path):
    """Images whose red is the class that `read_classes` predicts, and their labels."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, labels = [], []
    for number, size in enumerate(SIZES):
        image = rng.integers(0, 4, (*size, 3)).astype(np.uint8)
        label = rng.choice([0, 1, 2, 3, 255], size).astype(np.uint8)
        images.append(tmp_path / "images" / f"i{number}.png")
        labels.append(tmp_path / f"l{number}.png")
        Image.fromarray(image).save(images[-1])
        Image.fromarray(label).save(labels[-1])
    # The ids are in another order than the names.
    ids = tuple(f"id{9 - number}" for number in range(len(SIZES)))
    return LabeledFiles(ids, tuple(images), tuple(labels))


def read_classes(images):
    class_ids = tf.cast(images, tf.int32)[..., 0]
    probabilities = tf.one_hot(class_ids, 4)
    return Prediction(class_ids, probabilities, tf.reduce_max(probabilities, -1))


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def own_mean_iou(label, class_ids):
    """The mean over the classes that occur in this image, by sets of pixels."""
    counted = label != 255
    ious = []
    for index in set(label[counted]) | set(class_ids[counted]):
        true, predicted = (set(np.flatnonzero(counted & (m == index))) for m in (label, class_ids))
        ious.append(len(true & predicted) / len(true | predicted))
    return np.mean(ious)


@pytest.mark.parametrize("limit", LIMITS)
def test_each_id_gets_the_mask_of_its_own_image(files, tmp_path, limit):
    folder = tmp_path / "masks"
    options = (files, CLASSES, Protocol("full"), 0.2, folder, limit)
    scores, image_mean_ious = masks.evaluate_files(read_classes, *options)
    assert sorted(path.stem for path in folder.iterdir()) == sorted(files.ids)
    confusion = np.zeros((4, 4), int)
    for image_id, image, label in zip(files.ids, files.images, files.labels, strict=True):
        shown = pixels(image)[..., 0]
        np.testing.assert_array_equal(pixels(folder / f"{image_id}.png"), shown)
        counted = pixels(label) != 255
        np.add.at(confusion, (pixels(label)[counted], shown[counted]), 1)
    np.testing.assert_array_equal(scores.confusion, confusion)
    pairs = zip(files.images, files.labels, strict=True)
    expected = [own_mean_iou(pixels(label), pixels(image)[..., 0]) for image, label in pairs]
    assert image_mean_ious == pytest.approx(expected)
    assert len(set(expected)) > 2


@pytest.mark.parametrize("limit", LIMITS)
def test_each_image_of_a_folder_gets_its_own_mask(files, tmp_path, limit):
    folder = tmp_path / "masks"
    source = files.images[0].parent
    assert masks.segment_folder(read_classes, source, folder, CLASSES, limit) == len(SIZES)
    assert len(list(folder.iterdir())) == len(SIZES)
    for image in files.images:
        np.testing.assert_array_equal(pixels(folder / image.name), pixels(image)[..., 0])


def test_padded_images_of_one_size_are_predicted_together(files, tmp_path):
    seen = []

    def predict(images):
        seen.append(tuple(images.shape))
        return read_classes(images)

    protocol = Protocol("padded", (8, 8))
    wrapped = protocol.wrap(predict, (0.0, 0.0, 0.0))
    folder = tmp_path / "masks"
    masks.evaluate_files(wrapped, files, CLASSES, protocol, 0.2, folder, BatchLimit(4))
    assert sorted(seen) == [(1, 8, 8, 3), (2, 8, 8, 3), (4, 8, 8, 3)]
    for image_id, image in zip(files.ids, files.images, strict=True):
        shown = pixels(folder / f"{image_id}.png")
        np.testing.assert_array_equal(shown, pixels(image)[..., 0])
