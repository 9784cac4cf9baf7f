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


def panels_of(strip, width, height, lines=1):
    """The five pictures, by where they must be."""
    top = GAP + LINE * lines + BELOW
    column = max(width, 160)
    lefts = [GAP + index * (column + GAP) for index in range(5)]
    return [strip[top : top + height, left : left + width] for left in lefts]


def test_small_pictures_are_repeated_whole_and_side_by_side():
    image, label, class_ids, confidence = case(96, 80)
    strip = strips.strip(image, label, class_ids, confidence, STREETS)
    assert strip.dtype == np.uint8
    panels = panels_of(strip, 5 * 80, 5 * 96)

    def whole(picture):
        return np.kron(picture, np.ones((5, 5, 1), int))

    shown, truth, prediction, error, sure = panels
    np.testing.assert_array_equal(shown, whole(image))
    np.testing.assert_array_equal(error, whole(pictures.colorize_error(label, class_ids)))
    np.testing.assert_array_equal(sure, whole(pictures.colorize_confidence(confidence)))
    for panel, ids in ((truth, label), (prediction, class_ids)):
        same = (panel == whole(pictures.colorize(ids, STREETS.colors))).all(axis=-1)
        # All but the classes' numbers.
        assert 0.98 < same.mean() < 1
    # Nothing is between the pictures.
    assert (strip[:, GAP + 400 : 2 * GAP + 400] == 255).all(axis=(1, 2))[: GAP + LINE + 480].all()


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((96, 96), (480, 480)),
        ((480, 360), (480, 360)),
        ((481, 300), (480, 299)),
        ((2048, 1024), (480, 240)),
        ((500, 375), (480, 360)),
        ((241, 100), (241, 100)),
        ((3000, 2), (480, 1)),
    ],
)
def test_pictures_are_shown_in_a_size_that_can_be_seen(size, shown):
    assert strips.shown_size(*size) == shown
    width, height = size
    strip = strips.strip(*case(height, width), STREETS)
    assert strip.shape[1] == GAP + 5 * (shown[0] + GAP)
    assert shown[1] < strip.shape[0] < shown[1] + 8 * LINE


def test_large_classes_keep_their_colors_when_they_shrink():
    image, label, class_ids, confidence = case(1024, 2048)
    strip = strips.strip(image, label, class_ids, confidence, STREETS)
    _, truth, _, error, sure = panels_of(strip, 480, 240)
    known = {*STREETS.colors, VOID_COLOR, (255, 255, 255)}
    plain = [tuple(pixel) for pixel in truth.reshape(-1, 3).tolist()]
    assert np.mean([pixel in known for pixel in plain]) > 0.98
    assert {tuple(p) for p in error.reshape(-1, 3).tolist()} == {
        pictures.RIGHT_COLOR, pictures.WRONG_COLOR, pictures.NEUTRAL_COLOR
    }  # fmt: skip
    middle = pictures.colorize_confidence(np.array([[0.5]]))[0, 0].astype(int)
    assert np.abs(sure[120, 240].astype(int) - middle).max() <= 2


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
    strip = strips.strip(*case(480, 480), STREETS)
    titles = ("input", "truth", "prediction", "error: wrong is dark", "confidence")
    for index, title in enumerate(titles):
        left = GAP + index * (480 + GAP)
        assert holds(strip[: GAP + LINE, left : left + 480], title, 18), title
        assert not ink(strip, 0, GAP, left, left + 480)
    strip = strips.strip(*case(480, 480), STREETS, strips.LARGEST_PROBABILITY)
    assert holds(strip[: GAP + LINE, -480 - GAP :], "largest probability", 18)


def test_caption_of_a_narrow_picture_takes_several_lines():
    strip = strips.strip(*case(480, 100), STREETS)
    # "error: wrong is dark, right is light, void is grey", in 160 pixels.
    lines = 3
    shown = panels_of(strip, 100, 480, lines)[0]
    np.testing.assert_array_equal(shown, case(480, 100)[0])
    left = GAP + 3 * (160 + GAP)
    for line in range(lines):
        top = GAP + line * LINE
        assert ink(strip, top, top + LINE, left, left + 160)
    # Shorter captions stand right above their pictures.
    assert not ink(strip, GAP, GAP + (lines - 1) * LINE, 0, left - GAP)
    assert ink(strip, GAP + (lines - 1) * LINE, GAP + lines * LINE, 0, 160)


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
    blank = np.full((240, 480), 255, np.uint8)
    image, *_, confidence = case(240, 480)
    strip = strips.strip(image * 0, blank, blank, confidence, classes)
    below = GAP + LINE + BELOW + 240 + GAP
    legend = strip[below:]
    assert (legend.shape[0] - GAP) % LINE == 0
    rows = (legend.shape[0] - GAP) // LINE
    assert rows == (1 if classes is STREETS else 2)
    before = (-1, 0)
    for name, color in zip(classes.names, classes.colors):
        ((top, left),) = swatches(legend, color)
        assert (top // LINE, left) > before
        before = top // LINE, left
        box = legend[top : top + 18, left : left + 28]
        assert (box != color).any(), "no number in it"
        luminance = np.dot(color, (0.299, 0.587, 0.114))
        number = 0 if luminance > 140 else 255
        assert (np.abs(box - float(number)) < 80).all(axis=-1).sum() > 5
        line = legend[top // LINE * LINE : (top // LINE + 1) * LINE, left + 28 : left + 28 + 220]
        assert holds(line, name, 17), name
    ((top, left),) = swatches(legend, VOID_COLOR)
    assert (top // LINE, left) > before
    assert (legend[top : top + 18, left : left + 28] == VOID_COLOR).all()


def test_legend_of_a_narrow_strip_takes_many_lines_and_cuts_long_names():
    classes = Classes("long", ("x" * 400, *VOC2012.names[1:]), VOC2012.colors)
    strip = strips.strip(*case(160, 20, classes), classes)
    below = strip.shape[0] - GAP
    # It stays left of the colours of the confidence.
    right = GAP + 4 * (160 + GAP) - GAP
    bar = strip.shape[1] - GAP - 160
    assert (strip[below - 4 * LINE : below, right:bar] == 255).all()
    assert not ink(strip, below - 3 * LINE, below, bar, strip.shape[1])
    assert ink(strip, below - LINE, below, GAP, right)


def test_bar_has_all_colors_of_the_confidence_from_0_to_1():
    strip = strips.strip(*case(240, 480), STREETS)
    below = GAP + LINE + BELOW + 240 + GAP
    left = strip.shape[1] - GAP - 480
    area = strip[below : below + LINE, left : left + 480]
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
    label = np.zeros((480, 480), np.uint8)
    label[:, 200:], label[200:, :], label[:20] = 1, 2, 255
    label[100:104, 100:104] = 2  # Too small.
    image, _, _, confidence = case(480, 480)
    strip = strips.strip(image, label, label, confidence, STREETS)
    truth = panels_of(strip, 480, 480)[1]
    plain = pictures.colorize(label, STREETS.colors)
    written = np.abs(truth.astype(int) - plain).max(axis=-1) > 100
    for class_id in range(3):
        here = written & (label == class_id)
        assert 10 < here.sum() < 150, class_id
    assert not (written & (label == 255)).any()
    assert not written[100:104, 100:104].any()
