"""Evaluation protocols: what a network sees of an image, and what it is judged by."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_networks import tiny_discriminator, tiny_segmenter

from tf_advseg.data import VOID_LABEL
from tf_advseg.data.files import LabeledFiles
from tf_advseg.evaluation.inference import Predictor
from tf_advseg.evaluation.protocols import Protocol

COLOR = (10.0, 20.0, 30.0)


@pytest.fixture
def files(tmp_path):
    """Three images of 12x16 pixels with their labels, a quarter of them void."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(3):
        label = rng.integers(0, 3, (12, 16)).astype(np.uint8)
        label[:6, :8] = VOID_LABEL
        paths = tmp_path / f"{number}i.png", tmp_path / f"{number}l.png"
        Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)).save(paths[0])
        Image.fromarray(label).save(paths[1])
        pairs.append(paths)
    images, labels = zip(*pairs)
    return LabeledFiles(("0", "1", "2"), images, labels)


@pytest.fixture
def predict():
    return Predictor(tiny_segmenter(), tiny_discriminator())


def test_full_images_are_predicted_as_they_are(files, predict):
    protocol = Protocol("full")
    assert protocol.wrap(predict, COLOR) is predict
    assert [image.shape for image, _ in protocol.images(files).as_numpy_iterator()] == [
        (12, 16, 3)
    ] * 3


@pytest.mark.parametrize("protocol", [Protocol("full"), Protocol("random_crop", (8, 8), seed=5)])
def test_images_picked_out_look_as_they_do_among_all(files, protocol):
    everything = list(protocol.images(files).as_numpy_iterator())
    picked = list(protocol.images_at(files, (2, 0)))
    assert len(picked) == 2
    for found, expected in zip(picked, (everything[2], everything[0]), strict=True):
        for own, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(own, other)


def test_padded_image_is_what_the_authors_feed_and_crop_back(predict):
    image = np.random.default_rng(1).integers(0, 256, (1, 9, 20, 3)).astype(np.uint8)
    # Their size is 505 both ways; an image may be longer one way, and is not padded there.
    padded = np.empty((1, 13, 20, 3), np.float32)
    padded[:] = COLOR
    padded[:, :9] = image
    whole = predict(tf.constant(padded))
    found = Protocol("padded", (13, 15)).wrap(predict, COLOR)(tf.constant(image))
    for own, expected in zip(found, whole, strict=True):
        assert own.shape[1:3] == (9, 20)
        np.testing.assert_allclose(own, expected[:, :9], rtol=1e-5, atol=1e-6)


def test_padding_is_outside_of_every_view_and_absent_around_a_large_image():
    image = tf.constant(np.random.default_rng(3).integers(0, 256, (1, 11, 7, 3)).astype(np.uint8))
    views = Predictor(tiny_segmenter(), tiny_discriminator(), scales=(0.75, 1), flip=True)
    padded = np.full((1, 13, 15, 3), COLOR, np.float32)
    padded[:, :11, :7] = image
    expected = views(tf.constant(padded))
    for own, whole in zip(Protocol("padded", (13, 15)).wrap(views, COLOR)(image), expected):
        np.testing.assert_allclose(own, whole[:, :11, :7], rtol=1e-5, atol=1e-6)
    # Nothing to pad.
    for own, plain in zip(Protocol("padded", (11, 6)).wrap(views, COLOR)(image), views(image)):
        np.testing.assert_allclose(own, plain, rtol=1e-5, atol=1e-6)


def test_images_are_padded_together_as_each_alone(predict):
    images = np.random.default_rng(4).integers(0, 256, (3, 9, 11, 3)).astype(np.uint8)
    padded = Protocol("padded", (12, 10)).wrap(predict, COLOR)
    together = padded(tf.constant(images))
    for index in range(3):
        alone = padded(tf.constant(images[index : index + 1]))
        for of_all, of_one in zip(together, alone, strict=True):
            assert of_all.shape[:3] == (3, 9, 11)
            np.testing.assert_allclose(of_all[index], of_one[0], rtol=1e-5, atol=1e-6)


def test_padding_reaches_the_prediction_at_the_border_only(predict):
    image = tf.constant(np.random.default_rng(2).integers(0, 256, (1, 12, 12, 3)).astype(np.uint8))
    plain = predict(image)
    padded = Protocol("padded", (20, 20)).wrap(predict, COLOR)(image)
    # The tiny network's kernels are 3x3.
    difference = np.abs(plain.probabilities - padded.probabilities)[0].max(axis=-1)
    assert difference[:-1, :-1].max() < 1e-6
    assert difference.max() > 1e-3


def test_random_crops_have_the_size_and_repeat(files):
    protocol = Protocol("random_crop", (8, 10), seed=3)
    first, again = (list(protocol.images(files).as_numpy_iterator()) for _ in range(2))
    np.testing.assert_equal(first, again)
    assert {image.shape for image, _ in first} == {(8, 10, 3)}


@pytest.mark.parametrize("name", ["full", "padded", "random_crop"])
@pytest.mark.parametrize("part", [range(1), range(1, 3), range(2, 2), range(3)])
def test_part_of_the_images_looks_as_among_all(name, part, files):
    protocol = Protocol(name, (8, 10), seed=3)
    whole, own = (list(protocol.images(files, p).as_numpy_iterator()) for p in (None, part))
    np.testing.assert_equal(own, whole[part.start : part.stop])


@pytest.mark.parametrize("name", ["full", "random_crop"])
def test_images_of_other_parts_are_not_read(name, files):
    files.images[0].unlink()
    files.labels[0].unlink()
    assert len(list(Protocol(name, (8, 10)).images(files, range(1, 3)))) == 2


@pytest.mark.parametrize("name", ["full", "padded", "random_crop"])
def test_void_as_background_leaves_no_void(name, files):
    def labels(void_class):
        images = Protocol(name, (8, 10), 0, void_class).images(files)
        return [label for _, label in images.as_numpy_iterator()]

    for plain, counted in zip(labels(None), labels(0), strict=True):
        np.testing.assert_array_equal(counted, np.where(plain == VOID_LABEL, 0, plain))
    assert any((label == VOID_LABEL).any() for label in labels(None))


def test_protocols_are_told_in_words():
    assert Protocol("full").describe() == "full images"
    assert Protocol("padded", (505, 505)).describe() == "images padded to 505x505"
    crops = Protocol("random_crop", (321, 97), void_class=0).describe()
    assert crops == "random crops resized to 321x97, void counted as background"
