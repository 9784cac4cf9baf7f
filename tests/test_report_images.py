"""Which images a report shows, their own scores, and the pictures of them."""

import io
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_advseg.data import VOID_COLOR
from tf_advseg.evaluation.image_scores import ImageScores
from tf_advseg.evaluation.pictures import colorize, colorize_confidence
from tf_advseg.report import figures
from tf_advseg.report.choice import choose
from tf_advseg.report.regions import region_numbers

NAN = math.nan
COLORS = ((0, 0, 0), (128, 0, 0), (0, 64, 255))


# Scores


def test_own_mean_iou_is_over_the_classes_of_that_image():
    scores = ImageScores(4)
    # Class 0: 1 of 2 pixels in common; class 2: 1 of 2; class 1 and 3 are in neither.
    scores.add(tf.constant([[0, 2, 255]], tf.uint8), tf.constant([[0, 0, 3]]))
    scores.add(tf.constant([[255]], tf.uint8), tf.constant([[1]]))
    scores.add(tf.constant([[3, 3], [3, 3]], tf.uint8), tf.constant([[3, 3], [3, 1]]))
    first, second, third = scores.mean_ious()
    assert first == pytest.approx((1 / 2 + 0) / 2)
    assert math.isnan(second)
    assert third == pytest.approx((3 / 4 + 0) / 2)


def test_no_image_has_no_score():
    assert ImageScores(4).mean_ious() == ()


# Choice


@pytest.mark.parametrize(
    ("scores", "best", "median", "worst"),
    [
        ([], (), (), ()),
        ([NAN, NAN], (), (), ()),
        ([0.3], (0,), (), ()),
        ([0.3, 0.8], (1,), (), (0,)),
        ([0.3, 0.8, 0.5], (1,), (2,), (0,)),
        ([0.3, 0.8, 0.5, 0.9], (3, 1), (2,), (0,)),
        ([0.3, 0.8, 0.5, 0.9, 0.1], (3, 1), (2,), (4, 0)),
        ([0.3, 0.8, 0.5, 0.9, 0.1, 0.4], (3, 1), (2, 5), (4, 0)),
        ([0.3, 0.8, 0.5, 0.9, 0.1, 0.4, 0.6], (3, 1), (6, 2), (4, 0)),
        ([0.1, NAN, 0.9, NAN, 0.5], (2,), (4,), (0,)),
        ([0.5] * 7, (0, 1), (2, 3), (6, 5)),
        ([0.0, 1.0, 0.0, 1.0, 0.5, 0.5, 0.5], (1, 3), (4, 5), (2, 0)),
    ],
)
def test_best_median_and_worst(scores, best, median, worst):
    assert choose(scores) == (best, median, worst)


@pytest.mark.parametrize("images", range(40))
def test_no_image_is_chosen_twice_and_the_kinds_are_in_order(images):
    scores = np.random.default_rng(images).integers(0, 9, images) / 9
    chosen = choose(scores)
    positions = [position for kind in chosen for position in kind]
    assert len(set(positions)) == len(positions) == min(images, 6)
    shown = [scores[position] for position in (*chosen.best, *chosen.median, *chosen.worst[::-1])]
    assert shown == sorted(shown, reverse=True)
    if images:
        assert (scores[chosen.best[0]], scores[(chosen.worst or chosen.best)[0]]) == (
            scores.max(),
            scores.min() if images > 1 else scores.max(),
        )
    if images >= 6:  # The median lies among those that are shown for it.
        first, last = (scores[position] for position in chosen.median)
        assert last <= np.median(scores) <= first


# Numbers on regions


def numbered(class_ids):
    return [(place.number, place.left, place.top) for place in region_numbers(class_ids)]


def test_each_region_has_its_number_in_its_middle():
    halves = np.zeros((96, 96), int)
    halves[:, 48:] = 7
    near = pytest.approx
    assert sorted(numbered(halves)) == [
        (0, near(0.25, abs=0.02), near(0.5, abs=0.02)),
        (7, near(0.75, abs=0.02), near(0.5, abs=0.02)),
    ]


def test_regions_of_one_class_are_numbered_apart_and_small_ones_and_void_are_not():
    class_ids = np.full((400, 800), 255)
    class_ids[100:300, 50:250] = 1
    class_ids[100:300, 500:700] = 1
    class_ids[0:10, 0:800] = 2  # Wide enough, but too flat for a number.
    places = numbered(class_ids)
    assert [number for number, _, _ in places] == [1, 1]
    assert sorted(left for _, left, _ in places) == pytest.approx([150 / 800, 600 / 800], abs=0.01)
    assert [top for _, _, top in places] == pytest.approx([0.5, 0.5], abs=0.02)


def test_number_lies_in_its_class_even_where_the_middle_is_another():
    class_ids = np.zeros((90, 120), int)
    class_ids[15:75, 20:100] = 3
    class_ids[35:55, 40:80] = 1
    places = numbered(class_ids)
    assert sorted(number for number, _, _ in places) == [0, 1, 3]
    for number, left, top in places:
        assert class_ids[int(top * 90), int(left * 120)] == number


def test_map_of_few_pixels_is_numbered_as_one_of_many():
    few = np.array([[0, 0, 1], [0, 0, 1]])
    assert numbered(few) == numbered(few.repeat(200, 0).repeat(200, 1))
    assert [number for number, _, _ in numbered(few)] == [0, 1]
    assert numbered(np.full((1, 1), 7)) == [
        (7, pytest.approx(0.5, abs=0.01), pytest.approx(0.5, abs=0.01))
    ]


def test_map_too_flat_for_numbers_has_none():
    assert numbered(np.zeros((1, 500), int)) == []


# Pictures


def decoded(picture):
    with Image.open(io.BytesIO(picture.data)) as image:
        assert f"image/{image.format.lower()}" == picture.media_type
        assert image.size == picture.size
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def maps():
    """Image, label, predicted classes and confidence of 60x40 pixels, in blocks."""
    rng = np.random.default_rng(1)
    blocks = [rng.integers(0, 3, (3, 2)).repeat(20, 0).repeat(20, 1) for _ in range(2)]
    label, class_ids = (block.astype(np.uint8) for block in blocks)
    label[20:40] = class_ids[20:40]
    label[:7] = 255
    image = np.full((60, 40, 3), (200, 90, 30), np.uint8)
    confidence = (np.arange(60 * 40).reshape(60, 40) % 256 / 255).astype(np.float32)
    return image, label, class_ids, confidence


def test_strip_shows_each_map(maps):
    image, label, class_ids, confidence = maps
    strip = figures.strip(*maps, COLORS)
    assert [picture.title for picture in strip] == list(figures.TITLES)
    shown, truth, prediction, error, sure = map(decoded, strip)
    assert np.abs(shown.astype(int) - image).max() < 8  # A JPEG is near the image.
    np.testing.assert_array_equal(truth, colorize(label, COLORS))
    np.testing.assert_array_equal(prediction, colorize(class_ids, COLORS))
    expected = np.where(label == class_ids, 0, 1)
    expected[label == 255] = 2
    kinds = (figures.RIGHT_COLOR, figures.WRONG_COLOR, figures.NO_CLASS_COLOR)
    np.testing.assert_array_equal(error, np.array(kinds)[expected])
    assert len(np.unique(expected)) == 3
    np.testing.assert_array_equal(sure, colorize_confidence(confidence))
    assert {place.number for place in strip[2].numbers} == set(np.unique(class_ids))
    assert not strip[0].numbers + strip[3].numbers + strip[4].numbers


def test_kinds_of_error_differ_in_brightness():
    grey = [
        Image.new("RGB", (1, 1), color).convert("L").getpixel((0, 0))
        for color in (figures.WRONG_COLOR, figures.NO_CLASS_COLOR, figures.RIGHT_COLOR)
    ]
    assert grey[0] + 60 < grey[1] < grey[2] - 60


def test_large_images_are_shown_small_and_classes_are_not_mixed():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (1024, 2048, 3)).astype(np.float32)
    label, class_ids = rng.integers(0, 3, (2, 1024, 2048))
    strip = figures.strip(image, label, class_ids, image[..., 0] / 255, COLORS)
    assert {picture.size for picture in strip} == {(480, 240)}
    known = {*COLORS, VOID_COLOR}
    for picture in strip[1:3]:
        assert {tuple(color) for color in decoded(picture).reshape(-1, 3)} <= known
