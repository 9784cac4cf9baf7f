"""The tf.data pipelines: what a batch holds follows from (seed, step) alone."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.folders import numbered_pairs
from tf_advseg.data import VOID_LABEL, catalog, files
from tf_advseg.data.pipeline import (
    Views,
    evaluation_dataset,
    random_crop_dataset,
    shuffled_index,
    training_dataset,
)

#: Views that show an image as it is.
WHOLE = Views(crop_size=(8, 8), random_scale=(1.0, 1.0), flip=False)
PALETTE = np.array([[40, 60, 80], [250, 10, 20], [30, 240, 50], [60, 70, 230]], np.uint8)


@pytest.fixture
def numbered(tmp_path):
    """Writes `count` images of 8 x 8 pixels that hold their own number, and labels alike."""
    return functools.partial(numbered_pairs, tmp_path)


@pytest.fixture
def textured(tmp_path):
    """Writes images of different sizes whose colours tell their labels, pixel by pixel."""

    def write(count):
        rng, pairs = np.random.default_rng(0), []
        for number in range(count):
            label = rng.integers(0, 4, (20 + number, 26 - number)).astype(np.uint8)
            paths = tmp_path / f"t{number}_image.png", tmp_path / f"t{number}_label.png"
            Image.fromarray(PALETTE[label]).save(paths[0])
            Image.fromarray(label).save(paths[1])
            pairs.append(paths)
        return pairs

    return write


def images_of(pairs):
    return [image for image, _ in pairs]


def batches(labeled, unlabeled, views, **options):
    options = {"batch_size": 2, "steps": 6, "seed": 0, **options}
    return list(training_dataset(labeled, unlabeled, views, **options).as_numpy_iterator())


def numbers(found, stream):
    """The numbers of the images in the batches, in order."""
    return [int(image[0, 0, 0]) for batch in found for image in batch[stream][0]]


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_equal(a, b)


@pytest.mark.parametrize("count", [1, 2, 3, 45])
def test_each_epoch_is_a_permutation_of_its_own(count):
    seed, epochs = tf.constant([5, 6], tf.int64), 6
    positions = tf.data.Dataset.range(epochs * count)
    found = positions.map(lambda p: shuffled_index(p, count, seed)).as_numpy_iterator()
    orders = np.array(list(found)).reshape(epochs, count)
    assert (np.sort(orders, axis=1) == np.arange(count)).all()
    if count > 3:
        assert len({tuple(order) for order in orders}) == epochs
    elif count > 1:
        assert len({tuple(order) for order in orders}) > 1


def test_every_image_comes_first_about_equally_often():
    seeds = tf.data.Dataset.range(600)
    first = seeds.map(lambda s: shuffled_index(tf.constant(0, tf.int64), 6, tf.stack([s, 0])))
    counts = np.bincount(list(first.as_numpy_iterator()), minlength=6)
    assert np.abs(counts - 100).max() < 50  # Five standard deviations.


def test_shapes_and_types(textured):
    pairs, views = textured(3), Views(crop_size=(12, 10))
    data = training_dataset(pairs, images_of(pairs), views, batch_size=2, steps=3, seed=0)
    image = tf.TensorSpec([2, 12, 10, 3], tf.float32)
    assert data.element_spec == {
        "labeled": (image, tf.TensorSpec([2, 12, 10], tf.int32)),
        "unlabeled": (image, tf.TensorSpec([2, 12, 10], tf.bool)),
    }
    assert int(data.cardinality()) == 3
    found = list(data.as_numpy_iterator())
    assert len(found) == 3
    for batch in found:
        for pixels in (batch["labeled"][0], batch["unlabeled"][0]):
            assert pixels.shape == (2, 12, 10, 3)
            assert pixels.min() >= 0 and pixels.max() <= 255
            assert pixels.max() > 1


def test_batches_from_a_later_step_are_those_of_the_uninterrupted_run(textured):
    pairs, views = textured(3), Views(crop_size=(12, 10))
    whole = batches(pairs, images_of(pairs), views)
    for first_step in (1, 3, 5):
        rest = batches(pairs, images_of(pairs), views, first_step=first_step)
        assert_equal(rest, whole[first_step:])
    assert batches(pairs, [], views, first_step=6) == []


def test_longer_run_begins_with_the_same_batches(textured):
    pairs, views = textured(3), Views(crop_size=(12, 10))
    shorter = batches(pairs, [], views, steps=3)
    assert_equal(shorter, batches(pairs, [], views, steps=6)[:3])


def test_same_seed_gives_the_same_batches_and_another_seed_others(textured):
    pairs, views = textured(3), Views(crop_size=(12, 10))
    first, again = (batches(pairs, images_of(pairs), views, seed=2**31 - 1) for _ in range(2))
    assert_equal(first, again)
    other = batches(pairs, images_of(pairs), views, seed=1)
    for stream in ("labeled", "unlabeled"):
        for a, b in zip(first, other):
            assert not np.array_equal(a[stream][0], b[stream][0])


@pytest.mark.parametrize("stream", ["labeled", "unlabeled"])
def test_each_epoch_shows_each_image_once(stream, numbered):
    pairs = numbered(5)
    found = numbers(batches(pairs, images_of(pairs), WHOLE, steps=10), stream)
    epochs = [found[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_streams_are_independent(numbered, textured):
    pairs = numbered(6)
    found = batches(pairs, images_of(pairs), WHOLE, steps=6)
    assert numbers(found, "labeled") != numbers(found, "unlabeled")
    # Neither stream depends on how many images the other has.
    fewer = batches(pairs, images_of(pairs)[:3], WHOLE, steps=6)
    assert numbers(fewer, "labeled") == numbers(found, "labeled")
    fewer = batches(pairs[:3], images_of(pairs), WHOLE, steps=6)
    assert numbers(fewer, "unlabeled") == numbers(found, "unlabeled")
    # The same image at the same place is cropped differently.
    one = textured(1)
    views = Views(crop_size=(8, 8), random_scale=(1.0, 1.0))
    for batch in batches(one, images_of(one), views):
        assert not np.array_equal(batch["labeled"][0], batch["unlabeled"][0])


def test_an_image_is_cropped_anew_each_time(textured):
    pairs, views = textured(1), Views(crop_size=(8, 8))
    crops = [image for batch in batches(pairs, [], views) for image in batch["labeled"][0]]
    assert len({crop.tobytes() for crop in crops}) == 12


def test_no_unlabeled_images_leave_their_stream_out(numbered):
    data = training_dataset(numbered(2), [], WHOLE, batch_size=1, steps=1, seed=0)
    assert set(data.element_spec) == {"labeled"}


def test_batch_may_be_larger_than_the_data(numbered):
    (batch,) = batches(numbered(3), [], WHOLE, batch_size=7, steps=1)
    shown = numbers([batch], "labeled")
    assert len(shown) == 7
    assert sorted(shown[:3]) == sorted(shown[3:6]) == [0, 1, 2]


def test_label_belongs_to_its_image(numbered):
    for batch in batches(numbered(9), [], WHOLE):
        image, label = batch["labeled"]
        np.testing.assert_array_equal(image[..., 0], label)


def test_colours_tell_the_labels_in_random_mirrored_crops(textured):
    views = Views((22, 18), random_scale=(1.0, 1.0), padding_color=(1.0, 2.0, 3.0))
    colors = np.zeros((256, 3))
    colors[:4], colors[VOID_LABEL] = PALETTE, views.padding_color
    found = batches(textured(5), [], views, steps=10)
    for batch in found:
        image, label = batch["labeled"]
        np.testing.assert_array_equal(image, colors[label])
    # The first image is 20 x 26: its crops are padded, others are not.
    padded = np.concatenate([(b["labeled"][1] == VOID_LABEL).any(axis=(1, 2)) for b in found])
    assert padded.any() and not padded.all()


def test_padding_has_its_colour_and_is_not_valid(numbered):
    pairs = numbered(3, first=100)
    views = Views((12, 16), random_scale=(1.0, 1.0), flip=False, padding_color=(7.0, 8.5, 9.0))
    expected = np.zeros((12, 16), bool)
    expected[:8, :8] = True
    for batch in batches(pairs, images_of(pairs), views):
        (labeled, label), (unlabeled, valid) = batch["labeled"], batch["unlabeled"]
        for index in range(2):
            np.testing.assert_array_equal(valid[index], expected)
            np.testing.assert_array_equal(label[index] != VOID_LABEL, expected)
            for image in (labeled[index], unlabeled[index]):
                assert (image[~expected] == (7.0, 8.5, 9.0)).all()
                assert (image[expected] >= 100).all()


@pytest.mark.parametrize(("input_scale", "side"), [(0.5, 4), (1.5, 12)])
def test_input_scale_resizes_every_image(input_scale, side, numbered):
    pairs = numbered(2)
    views = Views((14, 14), input_scale=input_scale, random_scale=(1.0, 1.0), flip=False)
    for batch in batches(pairs, images_of(pairs), views, steps=2):
        assert (batch["unlabeled"][1].sum(axis=(1, 2)) == side**2).all()
        assert ((batch["labeled"][1] != VOID_LABEL).sum(axis=(1, 2)) == side**2).all()


def test_random_scale_and_flip_reach_the_views(textured):
    pairs = textured(1)
    views = Views((40, 40), random_scale=(0.5, 1.5))
    found = batches(pairs, images_of(pairs), views, steps=15)
    for stream, mask in (("labeled", lambda x: x != VOID_LABEL), ("unlabeled", lambda x: x)):
        masks = [mask(m) for batch in found for m in batch[stream][1]]
        heights = [m.any(axis=1).sum() for m in masks]
        assert 10 <= min(heights) < 15 and 25 < max(heights) <= 30
        mirrored = [m[0, -1] for m in masks]
        assert 5 < sum(mirrored) < 25
    views = Views((40, 40), flip=False)
    assert all(b["labeled"][1][:, 0, 0].max() < 4 for b in batches(pairs, [], views, steps=15))


def test_evaluation_shows_whole_images_in_order(textured):
    pairs = textured(4)
    images, labels = zip(*pairs)
    found = list(evaluation_dataset(images, labels).as_numpy_iterator())
    assert len(found) == 4
    for number, (image, label) in enumerate(found):
        assert (image.dtype, label.dtype) == (np.uint8, np.uint8)
        assert label.shape == (20 + number, 26 - number)
        np.testing.assert_array_equal(image, PALETTE[label])
        np.testing.assert_array_equal(label, np.asarray(Image.open(labels[number])))


def test_evaluation_without_labels_gives_images_alone(textured):
    images = images_of(textured(3))
    found = list(evaluation_dataset(images, []).as_numpy_iterator())
    assert [image.shape for image in found] == [(20, 26, 3), (21, 25, 3), (22, 24, 3)]


def test_nothing_is_left_to_the_tuner_that_delays_the_end(textured):
    pairs = textured(2)
    images, labels = zip(*pairs)
    for dataset in (
        training_dataset(pairs, images, WHOLE, batch_size=2, steps=3, seed=0),
        evaluation_dataset(images, labels),
        random_crop_dataset(images, labels, WHOLE, seed=0),
    ):
        assert not dataset.options().autotune.enabled


def test_broken_file_raises(numbered):
    pairs = numbered(1)
    pairs[0][0].write_bytes(b"no picture")
    with pytest.raises(tf.errors.InvalidArgumentError):
        batches(pairs, [], WHOLE)


def test_paths_may_hold_spaces_and_other_scripts(numbered, tmp_path):
    ((image, label),) = numbered(1)
    moved = image.rename(tmp_path / "ein bild ö 図.png")
    assert len(batches([(moved, label)], [moved], WHOLE)) == 6


def test_data_folder_reaches_the_batches(voc_folder):
    """From files on disk, through the cache, to a batch: class ids, not palette colours."""
    dataset = files.open_dataset("folder", voc_folder(train=2, size=(24, 30)))
    assert isinstance(dataset, catalog.Dataset)
    found = files.labeled_files(dataset, ("train_0", "train_1"))
    pairs = list(zip(found.images, found.labels))
    views = Views((24, 30), random_scale=(1.0, 1.0), flip=False)
    (batch,) = batches(pairs, [], views, steps=1)
    expected = [np.asarray(Image.open(dataset.label_path(i))) for i in found.ids]
    np.testing.assert_array_equal(batch["labeled"][1].sum(axis=(1, 2)).sum(), np.sum(expected))
    assert set(np.unique(batch["labeled"][1])) == {0, 1, 2, VOID_LABEL}


@pytest.fixture
def bordered(tmp_path):
    """An image whose label is void in its left half, and of class 2 in the other."""
    label = np.full((8, 8), 2, np.uint8)
    label[:, :4] = VOID_LABEL
    paths = tmp_path / "image.png", tmp_path / "label.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(paths[0])
    Image.fromarray(label).save(paths[1])
    return [paths]


def test_void_can_count_as_a_class_but_padding_does_not(bordered):
    views = dataclasses.replace(WHOLE, crop_size=(10, 8), void_class=1)
    [batch] = batches(bordered, [], views, batch_size=1, steps=1)
    label = batch["labeled"][1][0]
    assert (label[:8, :4] == 1).all() and (label[:8, 4:] == 2).all()
    assert (label[8:] == VOID_LABEL).all()


@pytest.mark.parametrize(("void_class", "left"), [(None, VOID_LABEL), (1, 1)])
def test_evaluation_can_count_void_as_a_class(void_class, left, bordered):
    images, labels = zip(*bordered)
    [(_, label)] = evaluation_dataset(images, labels, void_class).as_numpy_iterator()
    assert label.dtype == np.uint8
    assert (label[:, :4] == left).all() and (label[:, 4:] == 2).all()


def test_area_rule_reaches_the_views(textured):
    pairs = textured(3)
    views = Views(crop_size=(16, 16), crop_rule="area", padding_color=(-1.0, -1.0, -1.0))
    found = batches(pairs, images_of(pairs), views)
    again = batches(pairs, images_of(pairs), dataclasses.replace(views, crop_rule="scale"))
    for batch in found:
        # A window of the area rule never leaves the image.
        assert (batch["labeled"][0] >= 0).all() and batch["unlabeled"][1].all()
    assert not all((b["labeled"][0] >= 0).all() for b in again)


def test_random_crops_are_the_same_for_the_same_seed(textured):
    pairs = textured(4)
    images, labels = zip(*pairs)
    views = Views(crop_size=(8, 10), crop_rule="area", flip=False)

    def crops(seed):
        return list(random_crop_dataset(images, labels, views, seed).as_numpy_iterator())

    first, again, other = crops(0), crops(0), crops(1)
    np.testing.assert_equal(first, again)
    assert any((a[0] != b[0]).any() for a, b in zip(first, other))
    assert {image.shape for image, _ in first} == {(8, 10, 3)}
    assert {image.dtype for image, _ in first} == {np.dtype(np.uint8)}
    assert {label.shape for _, label in first} == {(8, 10)}
