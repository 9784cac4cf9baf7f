"""Prediction in sliding windows, against plain loops over windows; and what memory it takes."""

import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import picture, resized, tiny_discriminator, tiny_segmenter

from tf_advseg.evaluation.inference import Predictor, window_slices


@pytest.fixture(scope="module")
def segmenter():
    return tiny_segmenter()


@pytest.mark.parametrize("size", [(1, 1), (9, 12), (8, 11), (90, 120)])
@pytest.mark.parametrize("flags", [{}, {"flip": True}, {"scales": (0.75, 1), "flip": True}])
def test_window_that_covers_the_image_gives_exactly_the_plain_prediction(segmenter, size, flags):
    images = picture(*size)
    plain = Predictor(segmenter, tiny_discriminator(), **flags)(images)
    windows = Predictor(segmenter, tiny_discriminator(), **flags, sliding_window=(90, 120))(images)
    for of_plain, of_windows in zip(plain, windows):
        np.testing.assert_array_equal(of_plain, of_windows)


@pytest.mark.parametrize("flip", [False, True])
def test_windows_average_the_logits_of_every_window_over_a_pixel(segmenter, flip):
    images = picture(10, 9, seed=3).astype(np.float32)

    def by_hand(images):
        total, count = np.zeros((1, 10, 9, 3)), np.zeros((10, 9, 1))
        # Windows of 6: of 10 rows they start at 0 and 4, of 9 columns at 0 and 3.
        for top in (0, 4):
            for left in (0, 3):
                area = np.s_[:, top : top + 6, left : left + 6]
                total[area] += segmenter(images[area]).numpy()
                count[area[1:]] += 1
        return tf.nn.softmax(total / count).numpy()

    expected = by_hand(images)
    if flip:
        expected = (expected + by_hand(images[:, :, ::-1])[:, :, ::-1]) / 2
    predicted = Predictor(segmenter, flip=flip, sliding_window=(6, 6))(images)
    np.testing.assert_allclose(predicted.probabilities, expected, atol=1e-5)


def starts_by_hand(length, window):
    """First pixels of the fewest even windows, of which neighbours share about a third."""
    if window >= length:
        return [0]
    step, count = max(1, round(window * 2 / 3)), 2
    while (count - 1) * step < length - window:
        count += 1
    return [round(index * (length - window) / (count - 1)) for index in range(count)]


def logits_by_hand(segmenter, image, window):
    """Averages logits pixel by pixel: image float32 [H, W, 3] -> [H, W, classes]."""
    height, width = image.shape[:2]
    seen = [[[] for _ in range(width)] for _ in range(height)]
    for top in starts_by_hand(height, window[0]):
        for left in starts_by_hand(width, window[1]):
            part = image[top : top + window[0], left : left + window[1]]
            for row, line in enumerate(segmenter(part[np.newaxis]).numpy()[0]):
                for column, pixel in enumerate(line):
                    seen[top + row][left + column].append(pixel)
    return np.array([[np.mean(logits, axis=0) for logits in line] for line in seen])


@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((13, 17), (5, 7)),
        ((13, 17), (4, 17)),
        ((12, 16), (6, 8)),
        ((5, 21), (9, 9)),  # Shorter than the window, and longer.
        ((7, 7), (6, 1)),
        ((3, 2), (9, 9)),
        ((1, 1), (1, 1)),
    ],
)
def test_windows_are_a_plain_loop_that_averages_logits(segmenter, size, window):
    images = picture(*size, seed=5)
    predicted = Predictor(segmenter, sliding_window=window)(images)
    logits = logits_by_hand(segmenter, images[0].astype(np.float32), window)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(predicted.probabilities[0], expected, atol=1e-5)
    np.testing.assert_allclose(predicted.confidence[0], expected.max(-1), atol=1e-5)


def test_windows_scales_and_flip_are_the_mean_of_views_by_hand(segmenter):
    images = picture(13, 17, seed=6)
    flags = {"scales": (0.6, 1, 1.3), "flip": True, "sliding_window": (6, 7)}
    predicted = Predictor(segmenter, **flags)(images)
    views = []
    for size in ((8, 10), (13, 17), (17, 22)):
        for step in (1, -1):
            scaled = resized(images[:, :, ::step], *size).numpy()[0]
            logits = logits_by_hand(segmenter, scaled, (6, 7))
            # Logits are averaged, brought to the image's size, and then made probabilities.
            view = tf.nn.softmax(resized(logits[np.newaxis], 13, 17)).numpy()
            views.append(view[:, :, ::step])
    np.testing.assert_allclose(predicted.probabilities, np.mean(views, axis=0), atol=1e-5)


def test_windows_take_batches(segmenter):
    images = np.concatenate([picture(7, 8, seed=1), picture(7, 8, seed=2)])
    predictor = Predictor(segmenter, sliding_window=(4, 5))
    together = predictor(images).probabilities
    for index in range(2):
        alone = predictor(images[index : index + 1]).probabilities[0]
        np.testing.assert_allclose(together[index], alone, atol=1e-6)


class RecordSizes(keras.layers.Layer):
    """Passes maps on, and notes the shape of each that the network is run with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, inputs):
        def note(shape):
            self.seen.append(tuple(shape.tolist()))
            return np.int32(0)

        noted = tf.numpy_function(note, [tf.shape(inputs)], tf.int32)
        with tf.control_dependencies([noted]):
            return tf.identity(inputs)


def recording(network, channels):
    """Returns the network behind a RecordSizes, and the list of shapes."""
    maps, record = keras.Input((None, None, channels)), RecordSizes()
    return keras.Model(maps, network(record(maps))), record.seen


def test_segmenter_sees_no_more_than_a_window(segmenter):
    network, seen = recording(segmenter, 3)
    judge, judged = recording(tiny_discriminator(), 3)
    flags = {"scales": (0.5, 1, 2), "flip": True, "sliding_window": (17, 19)}
    Predictor(network, judge, **flags)(picture(64, 128))
    assert set(seen) == {(1, 17, 19, 3)}
    windows = [
        len(window_slices(64 * s // 2, 17)) * len(window_slices(64 * s, 19)) for s in (1, 2, 4)
    ]
    assert len(seen) == 2 * sum(windows)
    # The discriminator sees the whole map, once for all views.
    assert judged == [(1, 64, 128, 3)]


def test_maps_in_memory_do_not_grow_with_windows_or_views():
    classes, height, width = 40, 256, 384
    segmenter = tiny_segmenter(kernel=1, classes=classes)
    image = picture(height, width)

    def peak(**flags):
        """The most memory of NumPy's, in maps of the image."""
        predictor = Predictor(segmenter, **flags)
        tracemalloc.start()
        predictor(image)
        maps = tracemalloc.get_traced_memory()[1] / (4 * classes * height * width)
        tracemalloc.stop()
        return maps

    # The logits of a view, and their copy on the way to TensorFlow.
    assert peak(sliding_window=(64, 64)) < 2.3
    assert peak(sliding_window=(32, 32)) < 2.3
    # The logits of a view, and the sum over views.
    assert peak(sliding_window=(64, 64), flip=True) < 2.3
    # And the logits of a smaller view, or of one that has four times the pixels.
    assert peak(sliding_window=(64, 64), flip=True, scales=(0.5, 0.6, 0.7, 1.0)) < 2.3 + 0.7**2
    assert peak(sliding_window=(64, 64), flip=True, scales=(1.0, 2.0)) < 2.3 + 2**2


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 7, 16, 33, 321])
def test_windows_cover_an_axis_evenly_with_a_third_of_overlap(window):
    for length in [*range(1, 70), 321, 500, 513, 2048]:
        slices = window_slices(length, window)
        starts = [part.start for part in slices]
        assert {part.stop - part.start for part in slices} == {min(window, length)}
        assert starts[0] == 0
        assert slices[-1].stop == length
        assert starts == sorted(set(starts))
        steps = np.diff(starts)
        if len(steps):
            assert steps.max() - steps.min() <= 1
            # A third of the window, but for rounding; a window of one pixel cannot overlap.
            assert window == 1 or window - steps.max() >= window / 3 - 0.5
            assert steps.max() <= window
