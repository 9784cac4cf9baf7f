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


def test_error_is_dark_where_wrong_light_where_right_and_grey_where_void():
    colored = pictures.colorize_error(IDS, np.array([[0, 2, 2], [1, 0, 1]]))
    assert colored.dtype == np.uint8
    light, dark, grey = [238] * 3, [30] * 3, [150] * 3
    assert colored.tolist() == [[light, dark, light], [dark, grey, light]]


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
