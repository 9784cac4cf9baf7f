"""Strips of an image and what is predicted of it: where everything is in them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tf_advseg.data import VOID_COLOR
from tf_advseg.data.classes import CITYSCAPES, VOC2012, Classes
from tf_advseg.evaluation import pictures, strips

STREETS = Classes("streets", ("sky", "road", "car"), ((70, 130, 180), (128, 64, 128), (0, 0, 142)))
GAP, LINE, BELOW = 12, 24, 4  # Pixels between pictures; of a line of text; below a caption.
WHITE = (255, 255, 255)


def case(height, width, classes=STREETS, seed=0):
    """An image, its truth with some void, a prediction with some errors, and a confidence."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    cells = rng.integers(0, len(classes), (2, 3))
    label = np.kron(cells, np.ones((-(-height // 2), -(-width // 3)), int))[:height, :width]
    class_ids = np.where(np.arange(width) < width // 4, (label + 1) % len(classes), label)
    label = np.where(np.arange(height)[:, np.newaxis] < height // 8, 255, label)
    confidence = np.tile(np.linspace(0, 1, width), (height, 1))
    return image, label.astype(np.uint8), class_ids.astype(np.int32), confidence


def corners(width, height, lines=1, columns=3):
    """Where the five pictures must be, and the legend as a sixth: (top, left) of each.

    Args:
      width: of a picture.
      height: of a picture.
      lines: of the captions of the row with the error; the others have one.
      columns: of pictures.
    """
    lefts = [GAP + index * (max(width, 160) + GAP) for index in range(columns)]
    found, top = [], GAP
    for row in range(6 // columns):
        top += BELOW + LINE * (lines if row == 1 else 1)
        found += [(top, left) for left in lefts]
        top += height + GAP
    return found


def panels_of(strip, width, height, lines=1, columns=3):
    """The five pictures, by where they must be."""
    places = corners(width, height, lines, columns)[:5]
    return [strip[top : top + height, left : left + width] for top, left in places]


@pytest.mark.parametrize(
    ("height", "width", "times", "columns"), [(96, 80, 3, 3), (50, 80, 5, 2), (96, 96, 3, 3)]
)
def test_small_pictures_are_repeated_whole(height, width, times, columns):
    image, label, class_ids, confidence = case(height, width)
    strip = strips.strip(image, label, class_ids, confidence, STREETS)
    assert strip.dtype == np.uint8
    lines = 2 if times * width < 400 else 1
    panels = panels_of(strip, times * width, times * height, lines, columns)

    def whole(picture):
        return np.kron(picture, np.ones((times, times, 1), int))

    shown, truth, prediction, error, sure = panels
    np.testing.assert_array_equal(shown, whole(image))
    np.testing.assert_array_equal(error, whole(pictures.colorize_error(label, class_ids)))
    np.testing.assert_array_equal(sure, whole(pictures.colorize_confidence(confidence)))
    for panel, ids in ((truth, label), (prediction, class_ids)):
        same = (panel == whole(pictures.colorize(ids, STREETS.colors))).all(axis=-1)
        # All but the classes' numbers.
        assert 0.97 < same.mean() < 1
    # Nothing is between the pictures.
    right = GAP + times * width
    assert (strip[:, right : right + GAP] == 255).all()


@pytest.mark.parametrize(
    ("size", "columns", "shown"),
    [
        ((96, 96), 3, (288, 288)),
        ((480, 360), 3, (312, 234)),
        ((500, 375), 3, (312, 234)),
        ((360, 480), 3, (234, 312)),
        ((313, 200), 3, (312, 199)),
        ((241, 200), 3, (241, 200)),
        ((2048, 1024), 2, (474, 237)),
        ((160, 100), 2, (320, 200)),
        ((3000, 2), 2, (474, 1)),
    ],
)
def test_pictures_are_shown_in_a_size_that_can_be_seen(size, columns, shown):
    assert strips.arrangement(*size) == (columns, shown)
    width, height = size
    strip = strips.strip(*case(height, width), STREETS)
    assert strip.shape[1] == GAP + columns * (shown[0] + GAP) <= 984
    rows = 6 // columns
    assert strip.shape[0] - rows * (shown[1] + LINE + GAP) in range(4 * LINE)


def test_large_classes_keep_their_colors_when_they_shrink():
    image, label, class_ids, confidence = case(1024, 2048)
    strip = strips.strip(image, label, class_ids, confidence, STREETS)
    _, truth, _, error, sure = panels_of(strip, 474, 237, columns=2)
    known = {*STREETS.colors, VOID_COLOR, (255, 255, 255)}
    plain = [tuple(pixel) for pixel in truth.reshape(-1, 3).tolist()]
    assert np.mean([pixel in known for pixel in plain]) > 0.98
    assert {tuple(p) for p in error.reshape(-1, 3).tolist()} == {
        pictures.RIGHT_COLOR, pictures.WRONG_COLOR, pictures.NEUTRAL_COLOR
    }  # fmt: skip
    middle = pictures.colorize_confidence(np.array([[0.5]]))[0, 0].astype(int)
    assert np.abs(sure[120, 237].astype(int) - middle).max() <= 2


def ink(strip, top, bottom, left, right):
    """Whether anything dark is written there."""
    return bool((strip[top:bottom, left:right] < 128).any())


def drawn(text, size):
    """A line of black text on white, cut to what is drawn, as bool [h, w]."""
    canvas = Image.new("L", (900, 60), 255)
    ImageDraw.Draw(canvas).text((10, 10), text, 0, ImageFont.load_default(size))
    dark = np.asarray(canvas) < 128
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    return dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def holds(area, text, size):
    """Whether a text is drawn somewhere in an area, but for a few pixels at its edges."""
    dark, wanted = (area < 128).all(axis=-1), drawn(text, size)
    windows = np.lib.stride_tricks.sliding_window_view(dark, wanted.shape)
    return bool(((windows == wanted).mean(axis=(2, 3)) > 0.97).any())


def test_caption_is_above_each_picture():
    strip = strips.strip(*case(237, 474), STREETS)
    titles = ("input", "truth", "prediction", "error: wrong dark", "confidence")
    for title, (top, left) in zip(titles, corners(474, 237, columns=2)):
        line = top - BELOW - LINE
        assert holds(strip[line:top, left : left + 474], title, 18), title
        # It does not touch the picture.
        assert not ink(strip, top - 2, top, left, left + 474)
    strip = strips.strip(*case(237, 474), STREETS, strips.LARGEST_PROBABILITY)
    top, left = corners(474, 237, columns=2)[4]
    assert holds(strip[top - BELOW - LINE : top, left : left + 474], "largest probability", 18)


def test_caption_of_a_narrow_picture_takes_several_lines():
    strip = strips.strip(*case(312, 100), STREETS)
    # "error: wrong dark, right light, void grey", in 160 pixels.
    lines = 3
    np.testing.assert_array_equal(panels_of(strip, 100, 312, lines)[0], case(312, 100)[0])
    top, left = corners(100, 312, lines)[3]
    begin = top - BELOW - lines * LINE
    for line in range(lines):
        assert ink(strip, begin + line * LINE, begin + (line + 1) * LINE, left, left + 160)
    # A shorter caption stands right above its picture.
    left = corners(100, 312, lines)[4][1]
    assert not ink(strip, begin, begin + (lines - 1) * LINE, left, left + 160)
    assert ink(strip, begin + (lines - 1) * LINE, top, left, left + 160)


def swatches(strip, color):
    """Upper left corners of the boxes of 28x18 pixels of a colour, numbers in it or not."""
    same = (strip == color).all(axis=-1)
    edge = np.ones((18, 28), bool)
    edge[2:-2, 3:-3] = False
    windows = np.lib.stride_tricks.sliding_window_view(same, edge.shape)
    return np.argwhere(windows[..., edge].all(axis=-1)).tolist()


@pytest.mark.parametrize("classes", [STREETS, CITYSCAPES], ids=["3", "19"])
def test_legend_has_each_color_with_its_number_and_name_behind_it(classes):
    # Nothing of the pictures is in a class's colour.
    blank = np.full((237, 474), 255, np.uint8)
    image, *_, confidence = case(237, 474)
    strip = strips.strip(image * 0, blank, blank, confidence, classes)
    top, left = corners(474, 237, columns=2)[5]
    legend = strip[top:, left : left + 474]
    before = (-1, 0)
    for name, color in zip(classes.names, classes.colors):
        ((top, left),) = swatches(legend, color)
        assert (top // LINE, left) > before
        before = top // LINE, left
        box = legend[top : top + 18, left : left + 28]
        luminance = np.dot(color, (0.299, 0.587, 0.114))
        number = 0 if luminance > 140 else 255
        assert (np.abs(box - float(number)) < 80).all(axis=-1).sum() > 5
        line = legend[top // LINE * LINE : (top // LINE + 1) * LINE, left + 28 :]
        assert holds(line[:, :220], name, 17), name
    assert before[0] == (0 if classes is STREETS else 4)
    ((top, left),) = swatches(legend, VOID_COLOR)
    assert (top // LINE, left) > before
    assert (legend[top : top + 18, left : left + 28] == VOID_COLOR).all()


def test_legend_of_a_narrow_strip_takes_many_lines_and_cuts_long_names():
    classes = Classes("long", ("x" * 400, *VOC2012.names[1:]), VOC2012.colors)
    strip = strips.strip(*case(160, 20, classes), classes)
    # 20 pixels are shown as they are, in columns of 160; the first name takes a line of its own.
    top, left = corners(20, 160, 3)[5]
    assert swatches(strip[top : top + LINE, left : left + 160], classes.colors[0])
    assert (strip[top : top + LINE, left + 160 :] == 255).all()
    assert ink(strip, top, top + LINE, left + 120, left + 160)
    assert swatches(strip[top + LINE :, left:], classes.colors[1])[0][0] < LINE
    # It grows down, beyond the pictures if need be.
    strip = strips.strip(*case(10, 60, classes), classes)
    top, left = corners(420, 70, columns=2)[5]
    assert strip.shape[0] > top + 70 + BELOW + LINE + GAP
    assert ink(strip, strip.shape[0] - GAP - LINE, strip.shape[0] - GAP, left, left + 420)
    assert (strip[-GAP:] == 255).all()


def test_bar_below_the_confidence_has_all_its_colors_from_0_to_1():
    strip = strips.strip(*case(237, 474), STREETS)
    top, left = corners(474, 237, columns=2)[4]
    below = top + 237 + BELOW
    area = strip[below : below + LINE, left : left + 474]
    colored = (area[LINE // 2] != area[LINE // 2, :, :1]).any(axis=-1)
    bar = area[LINE // 2, colored]
    assert len(bar) > 400 and colored[colored.argmax() :].sum() == len(bar)
    ends = pictures.colorize_confidence(np.array([[0.0, 1.0]]))[0]
    np.testing.assert_array_equal(bar[[0, -1]], ends)
    steps = pictures.colorize_confidence(np.linspace(0, 1, len(bar))[np.newaxis])[0]
    np.testing.assert_array_equal(bar, steps)
    assert holds(area[:, : colored.argmax()], "0", 17)
    assert holds(area[:, -colored[::-1].argmax() :], "1", 17)


def test_large_regions_have_the_number_of_their_class():
    label = np.zeros((300, 312), np.uint8)
    label[:, 160:], label[200:, :], label[:40] = 1, 2, 255
    label[100:104, 100:104] = 2  # Too small.
    image, _, _, confidence = case(300, 312)
    strip = strips.strip(image, label, label, confidence, STREETS)
    truth = panels_of(strip, 312, 300)[1]
    plain = pictures.colorize(label, STREETS.colors)
    written = np.abs(truth.astype(int) - plain).max(axis=-1) > 100
    for class_id in range(3):
        here = written & (label == class_id)
        assert 10 < here.sum() < 150, class_id
    assert not (written & (label == 255)).any()
    assert not written[100:104, 100:104].any()
