"""Pictures of predictions, pixel by pixel."""

import numpy as np
from PIL import Image

from tf_advseg.evaluation import pictures

COLORS = [(0, 0, 0), (128, 0, 0), (0, 64, 255)]
IDS = np.array([[0, 1, 2], [2, 255, 1]])


def test_colorize_gives_each_class_its_color_and_void_its_own():
    colored = pictures.colorize(IDS, COLORS)
    assert colored.dtype == np.uint8
    assert colored.tolist() == [
        [[0, 0, 0], [128, 0, 0], [0, 64, 255]],
        [[0, 64, 255], [224, 224, 192], [128, 0, 0]],
    ]


def test_confidence_goes_from_dark_blue_to_yellow():
    colored = pictures.colorize_confidence(np.array([[0.0, 1.0]]))
    # The ends of matplotlib's viridis.
    assert colored.tolist() == [[[68, 1, 84], [253, 231, 36]]]
    assert colored.dtype == np.uint8


def test_strip_shows_input_truth_prediction_and_confidence_with_white_gaps():
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    class_ids = np.array([[1, 1, 1], [0, 0, 0]])
    confidence = np.array([[0, 0.5, 1], [1, 0.5, 0]])
    strip = pictures.strip(image, IDS, class_ids, confidence, COLORS)
    assert strip.shape == (2, 4 * 3 + 3 * 4, 3)
    assert strip.dtype == np.uint8
    for index, picture in enumerate(
        [
            image,
            pictures.colorize(IDS, COLORS),
            pictures.colorize(class_ids, COLORS),
            pictures.colorize_confidence(confidence),
        ]
    ):
        np.testing.assert_array_equal(strip[:, 7 * index : 7 * index + 3], picture)
    for left in (3, 10, 17):
        assert (strip[:, left : left + 4] == 255).all()


def test_saved_mask_is_an_indexed_png_of_raw_ids_with_the_palette(tmp_path):
    path = tmp_path / "mask.png"
    ids = np.random.default_rng(0).integers(0, 3, (5, 8)).astype(np.int32)
    ids[0, 0] = 255
    pictures.save_mask(path, ids, COLORS)
    with Image.open(path) as mask:
        assert (mask.format, mask.mode, mask.size) == ("PNG", "P", (8, 5))
        np.testing.assert_array_equal(np.asarray(mask), ids)
        shown = np.asarray(mask.convert("RGB"))
        palette = mask.getpalette()
    np.testing.assert_array_equal(shown, pictures.colorize(ids, COLORS))
    assert palette[:9] == [0, 0, 0, 128, 0, 0, 0, 64, 255]


def test_mask_keeps_ids_where_classes_share_a_color(tmp_path):
    ids = np.array([[0, 1, 2, 1]])
    pictures.save_mask(tmp_path / "mask.png", ids, [(9, 9, 9)] * 3)
    with Image.open(tmp_path / "mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), ids)
