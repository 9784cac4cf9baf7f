"""Augmentation against plain numpy, TensorFlow's own resize and Pillow."""

import fractions

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_advseg.data import VOID_LABEL, augment
from tf_advseg.data.augment import Geometry, random_area, random_scale

PADDING = (1.0, 2.0, 3.0)
PALETTE = np.array([[40, 60, 80], [250, 10, 20], [30, 240, 50], [60, 70, 230], [240, 230, 90]])


def noise(size, channels=3, seed=0):
    """An image with no two pixels alike, and none of the padding's colour."""
    rng = np.random.default_rng(seed)
    return rng.integers(10, 256, (*size, channels)).astype(np.uint8)


def blocks(size, side, seed=0):
    """A label of big squares of classes 0 to 4, uint8 [H, W]."""
    rng = np.random.default_rng(seed)
    rows, columns = -(-size[0] // side), -(-size[1] // side)
    coarse = rng.integers(0, len(PALETTE), (rows, columns))
    return np.kron(coarse, np.ones((side, side), int))[: size[0], : size[1]].astype(np.uint8)


def geometry(window, size=None, corner=(0, 0), mirrored=False):
    return Geometry(*map(tf.constant, (corner, window, size or window, mirrored)))


def drawn(count, size, crop_size, first=0, rule=random_scale, **options):
    """Geometries of `count` seeds, as numpy arrays."""
    seeds = tf.data.Dataset.range(first, first + count).map(lambda n: tf.stack([n, 7]))
    geometries = seeds.map(lambda s: rule(s, tf.constant(size), crop_size, **options))
    return [Geometry(*g) for g in geometries.as_numpy_iterator()]


def eagerly(function, geometries):
    return [function(Geometry(*map(tf.constant, g))).numpy() for g in geometries]


def in_dataset(function, geometries):
    columns = tuple(np.stack(column) for column in zip(*geometries))
    dataset = tf.data.Dataset.from_tensor_slices(columns)
    return list(dataset.map(lambda *g: function(Geometry(*g))).as_numpy_iterator())


both_ways = pytest.mark.parametrize("apply", [eagerly, in_dataset])


def crop_all(apply, image, label, geometries, crop_size):
    """Image, label and valid crops for each geometry."""
    return zip(
        apply(lambda g: augment.crop_image(image, g, crop_size, PADDING), geometries),
        apply(lambda g: augment.crop_label(label, g, crop_size), geometries),
        apply(lambda g: augment.crop_valid(g, crop_size), geometries),
        strict=True,
    )


@both_ways
def test_crop_at_scale_1_is_found_bit_exactly_in_its_source(apply):
    size, (height, width) = (40, 50), (16, 24)
    image, label = noise(size), noise(size, 1)[..., 0]
    geometries = drawn(30, size, (height, width), scale_range=(1.0, 1.0))
    assert {bool(g.mirrored) for g in geometries} == {True, False}
    crops = crop_all(apply, image, label, geometries, (height, width))
    for found, (image_crop, label_crop, valid) in zip(geometries, crops, strict=True):
        assert (image_crop.dtype, label_crop.dtype, valid.dtype) == (np.float32, np.int32, bool)
        row, column = found.corner
        window = slice(row, row + height), slice(column, column + width)
        step = -1 if found.mirrored else 1
        np.testing.assert_array_equal(image_crop, image[window][:, ::step])
        np.testing.assert_array_equal(label_crop, label[window][:, ::step])
        assert valid.all()


@both_ways
def test_identity_geometry_gives_the_source(apply):
    image, label = noise((9, 13)), noise((9, 13), 1)[..., 0]
    ((image_crop, label_crop, valid),) = crop_all(apply, image, label, [geometry((9, 13))], (9, 13))
    np.testing.assert_array_equal(image_crop, image)
    np.testing.assert_array_equal(label_crop, label)
    assert valid.all()


def test_float_image_is_cropped_like_a_byte_image():
    image, g = noise((20, 30)), geometry((17, 15), (12, 12), (2, 3), True)
    as_bytes = augment.crop_image(image, g, (12, 12), PADDING)
    as_floats = augment.crop_image(image.astype(np.float32), g, (12, 12), PADDING)
    np.testing.assert_array_equal(as_bytes, as_floats)


def nearest(label, g, crop_size):
    """The label crop pixel by pixel: where its centre lies in the source, in whole numbers."""
    crop = np.full(crop_size, VOID_LABEL)
    for row in range(g.size[0]):
        for column in range(g.size[1]):
            y = fractions.Fraction(2 * row + 1, 2) * g.window[0] / g.size[0] + g.corner[0]
            x = fractions.Fraction(2 * column + 1, 2) * g.window[1] / g.size[1] + g.corner[1]
            target = crop_size[1] - 1 - column if g.mirrored else column
            crop[row, target] = label[int(y), int(x)]
    return crop


@both_ways
def test_label_crop_takes_the_nearest_pixel(apply):
    size, crop_size = (23, 31), (18, 20)
    label = noise(size, 1)[..., 0]
    geometries = drawn(40, size, crop_size, scale_range=(0.4, 2.5))
    found = apply(lambda g: augment.crop_label(label, g, crop_size), geometries)
    for g, crop in zip(geometries, found, strict=True):
        g = Geometry(*(part.tolist() for part in g))
        np.testing.assert_array_equal(crop, nearest(label, g, crop_size))


@both_ways
def test_label_crop_has_no_class_that_its_source_has_not(apply):
    label = np.where(blocks((30, 30), 5) < 3, 0, 200).astype(np.uint8)
    geometries = drawn(40, (30, 30), (24, 24))
    for crop in apply(lambda g: augment.crop_label(label, g, (24, 24)), geometries):
        assert set(np.unique(crop)) <= {0, 200, VOID_LABEL}


@both_ways
def test_void_in_the_source_stays_void(apply):
    label = np.full((10, 10), VOID_LABEL, np.uint8)
    (crop,) = apply(lambda g: augment.crop_label(label, g, (10, 10)), [geometry((10, 10))])
    assert (crop == 255).all()


@both_ways
@pytest.mark.parametrize(
    ("size", "scale", "inside"),
    [
        ((10, 14), 1.0, (10, 14)),
        ((10, 14), 0.5, (5, 7)),
        ((10, 14), 0.3, (3, 4)),
        ((10, 14), 1.5, (15, 20)),
        ((10, 50), 1.0, (10, 20)),  # Only the height is too small.
        ((1, 1), 0.4, (1, 1)),  # One pixel is left of any image.
    ],
)
def test_padding_is_the_same_pixels_of_image_label_and_valid(size, scale, inside, apply):
    crop_size = (18, 20)
    image, label = noise(size), noise(size, 1)[..., 0] % 100
    (drawn_one,) = drawn(1, size, crop_size, scale_range=(scale, scale), flip=False)
    both = [drawn_one, drawn_one._replace(mirrored=np.array(True))]
    plain, mirrored = crop_all(apply, image, label, both, crop_size)
    expected = np.zeros(crop_size, bool)
    expected[: inside[0], : inside[1]] = True
    for (image_crop, label_crop, valid), mask in ((plain, expected), (mirrored, expected[:, ::-1])):
        np.testing.assert_array_equal(valid, mask)
        np.testing.assert_array_equal(label_crop == VOID_LABEL, ~mask)
        np.testing.assert_array_equal((image_crop == PADDING).all(axis=-1), ~mask)
        if mask.any():
            # The padding does not bleed into the image.
            assert image_crop[mask].min() >= image.min() - 1e-3


@both_ways
@pytest.mark.parametrize("size", [(60, 75), (31, 90), (24, 20)])
def test_image_and_label_stay_aligned(size, apply):
    """Away from the borders of squares, a crop's colours tell its labels."""
    crop_size, reach = (40, 44), 3
    label = blocks(size, 12)
    image = PALETTE[label].astype(np.uint8)
    geometries = drawn(25, size, crop_size)
    tested = 0
    crops = crop_all(apply, image, label, geometries, crop_size)
    for image_crop, label_crop, valid in crops:
        padded = np.pad(label_crop, reach, constant_values=-1)
        around = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2)
        inner = (around == label_crop[..., np.newaxis, np.newaxis]).all(axis=(2, 3)) & valid
        distance = np.abs(image_crop[:, :, np.newaxis] - PALETTE).sum(axis=-1)
        np.testing.assert_array_equal(distance.argmin(axis=-1)[inner], label_crop[inner])
        np.testing.assert_allclose(distance.min(axis=-1)[inner], 0, atol=0.01)
        tested += inner.sum()
    assert tested > 1000


def bilinear(source, size):
    """A plain bilinear resize by each pixel's two neighbours a side, in float64."""

    def taps(length, wanted):
        centers = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
        low = np.floor(centers).astype(int)
        return low, np.minimum(low + 1, length - 1), centers - low

    (top, bottom, y), (left, right, x) = map(taps, source.shape[:2], size)
    rows = source[top] * (1 - y[:, None, None]) + source[bottom] * y[:, None, None]
    return rows[:, left] * (1 - x[:, None]) + rows[:, right] * x[:, None]


@both_ways
@pytest.mark.parametrize("size", [(10, 12), (19, 24), (20, 24), (30, 31), (51, 50)])
def test_image_crop_is_a_plainly_resized_window_down_to_half_of_it(size, apply):
    image, corner, window = noise((48, 64)), (3, 5), (20, 24)
    source = image[3:23, 5:29].astype(float)
    both = [geometry(window, size, corner, mirrored) for mirrored in (False, True)]
    crop, mirrored = apply(lambda g: augment.crop_image(image, g, size, PADDING), both)
    np.testing.assert_array_equal(mirrored, crop[:, ::-1])
    np.testing.assert_allclose(crop, bilinear(source, size), atol=1e-3)


@both_ways
@pytest.mark.parametrize("size", [(9, 24), (20, 11), (5, 6)])
def test_image_crop_has_a_wider_kernel_below_half(size, apply):
    image, window = noise((48, 64)), (20, 24)
    pillow = Image.fromarray(image[3:23, 5:29]).resize(size[::-1], Image.Resampling.BILINEAR)
    geometries = [geometry(window, size, (3, 5))]
    (crop,) = apply(lambda g: augment.crop_image(image, g, size, PADDING), geometries)
    np.testing.assert_allclose(crop, np.asarray(pillow, float), atol=1.01)


def scales(geometries):
    """Of rows and of columns, [N, 2]; they differ by rounding to whole pixels."""
    return np.array([g.size / g.window for g in geometries])


def test_scales_fill_their_range_evenly():
    size = (3000, 3000)  # So large that rounding does not show.
    found = scales(drawn(1000, size, (1000, 1000), scale_range=(0.5, 1.5)))
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=2e-3)
    assert found.min() >= 0.499 and found.max() <= 1.501
    counts, _ = np.histogram(found[:, 0], bins=10, range=(0.5, 1.5))
    # 100 are expected in each; the standard deviation is below 10.
    assert counts.min() > 60 and counts.max() < 140


@pytest.mark.parametrize("size", [(375, 500), (97, 45), (20, 20)])
def test_rounding_to_whole_pixels_moves_a_scale_little(size):
    """A window and its size are each within half a pixel of the scale that was drawn."""
    for g in drawn(100, size, (33, 41)):
        low = (np.maximum(g.size, 1) - 0.5) / (g.window + 0.5)
        high = (g.size + 0.5) / np.maximum(g.window - 0.5, 0.5)
        assert low.max() <= high.min()


def test_corners_cover_the_room_evenly_with_both_ends():
    corners = np.array([g.corner for g in drawn(1200, (10, 12), (8, 8), scale_range=(1.0, 1.0))])
    for axis, room in ((0, 2), (1, 4)):
        places, counts = np.unique(corners[:, axis], return_counts=True)
        assert places.tolist() == list(range(room + 1))
        expected = 1200 / (room + 1)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    # Rows and columns are drawn apart from each other.
    assert len(np.unique(corners, axis=0)) == 3 * 5


@pytest.mark.parametrize("size", [(50, 70), (20, 90), (15, 15), (1, 7)])
def test_crop_is_filled_or_shows_the_whole_side(size):
    for g in drawn(100, size, (24, 32)):
        assert (g.corner >= 0).all() and (g.corner + g.window <= size).all()
        assert ((g.size == (24, 32)) | (g.window == size)).all()
        assert (g.size >= 1).all() and (g.size <= (24, 32)).all()


def test_half_is_mirrored_and_none_without_flip():
    mirrored = sum(bool(g.mirrored) for g in drawn(1000, (30, 30), (20, 20)))
    assert abs(mirrored - 500) < 80  # Five standard deviations.
    assert not any(g.mirrored for g in drawn(50, (30, 30), (20, 20), flip=False))


def test_mirror_scale_and_offset_are_independent():
    found = drawn(1000, (60, 60), (20, 20), scale_range=(1.0, 2.0))
    share = [g.corner / (60 - g.window) for g in found]
    columns = np.array([(g.size[0] / g.window[0], *s, g.mirrored) for g, s in zip(found, share)])
    correlation = np.corrcoef(columns.T) - np.eye(4)
    assert np.abs(correlation).max() < 0.16  # Five standard deviations.


def test_geometry_follows_from_the_seed_alone():
    first, again = (drawn(20, (50, 60), (20, 20)) for _ in range(2))
    np.testing.assert_equal(first, again)
    eager = [
        random_scale(tf.constant([n, 7], tf.int64), tf.constant([50, 60]), (20, 20))
        for n in range(20)
    ]
    np.testing.assert_equal(first, [Geometry(*(t.numpy() for t in g)) for g in eager])
    assert len({(*g.window, *g.corner, bool(g.mirrored)) for g in first}) >= 19


def test_static_shapes_are_known_in_the_graph():
    dataset = tf.data.Dataset.from_tensors(noise((9, 9)))
    image = dataset.map(lambda i: augment.crop_image(i, geometry((4, 6)), (4, 6), PADDING))
    assert image.element_spec.shape.as_list() == [4, 6, 3]
    label = dataset.map(lambda i: augment.crop_label(i[..., 0], geometry((4, 6)), (4, 6)))
    assert label.element_spec.shape.as_list() == [4, 6]
    valid = dataset.map(lambda _: augment.crop_valid(geometry((4, 6)), (4, 6)))
    assert valid.element_spec.shape.as_list() == [4, 6]


def windows(geometries, crop_size):
    """Top, left, height and width of each geometry's window in the source, [N, 4]."""
    assert all((g.size == crop_size).all() for g in geometries)
    return np.array([(*g.corner, *g.window) for g in geometries])


def test_area_rule_draws_whole_windows_inside_of_the_image():
    size, crop_size = (375, 500), (321, 321)
    found = windows(drawn(400, size, crop_size, rule=random_area), crop_size)
    assert (found[:, :2] >= 0).all()
    assert (found[:, :2] + found[:, 2:] <= size).all()
    share = found[:, 2:].prod(axis=1) / np.prod(size)
    aspect = found[:, 3] / found[:, 2]
    assert share.min() == pytest.approx(0.08, abs=0.02)
    assert share.max() > 0.85
    # Rounding to whole pixels moves an aspect by about 1 %.
    assert 0.74 < aspect.min() < 0.78
    assert 1.28 < aspect.max() < 1.35


def test_area_rule_draws_areas_evenly_where_all_windows_fit():
    # In an image this wide and high no window under half the area sticks out.
    size, crop_size = (4000, 4000), (32, 32)
    found = windows(drawn(2000, size, crop_size, rule=random_area), crop_size)
    share = found[:, 2:].prod(axis=1) / np.prod(size)
    under_half = np.sort(share[share < 0.5])
    expected = np.linspace(0.08, 0.5, len(under_half))
    assert np.abs(under_half - expected).max() < 0.03  # Kolmogorov's 1 % bound for 900 draws: .054.
    room = np.array(size) - found[:, 2:]
    corners = found[:, :2] / room
    assert np.abs(corners.mean(axis=0) - 0.5).max() < 0.03


def test_area_rule_takes_the_middle_where_no_window_fits():
    # 8 % of 10 x 1000 pixels is 28 x 28 at least in one direction: nothing fits in 10 rows.
    found = windows(drawn(5, (10, 1000), (20, 40), rule=random_area), (20, 40))
    np.testing.assert_array_equal(found, [(0, 490, 10, 20)] * 5)


@both_ways
def test_area_crops_of_image_and_label_are_one_window(apply):
    size, crop_size = (60, 80), (24, 32)
    label = blocks(size, 20)
    image = PALETTE[label].astype(np.uint8)
    geometries = drawn(25, size, crop_size, rule=random_area, flip=True)
    for crop, cropped_label, valid in crop_all(apply, image, label, geometries, crop_size):
        assert valid.all()
        # Away from the borders of blocks, an image pixel has exactly its label's colour.
        same = np.abs(crop - PALETTE[cropped_label]).max(axis=-1) < 0.5
        assert same.mean() > 0.6


def test_area_rule_mirrors_only_if_asked():
    assert not any(g.mirrored for g in drawn(40, (50, 60), (20, 20), rule=random_area))
    asked = [g.mirrored for g in drawn(400, (50, 60), (20, 20), rule=random_area, flip=True)]
    assert 0.4 < np.mean(asked) < 0.6
