"""Tests of the generated data set `shapes`."""

import json
import os
import zlib

import numpy as np
import pytest
from PIL import Image

from tf_advseg.data import VOID_LABEL, shapes

NUM_CLASSES = len(shapes.CLASSES)


@pytest.fixture(scope="module")
def rendered():
    """400 images [N, H, W, 3] and labels [N, H, W]."""
    images, labels = zip(*(shapes.render(0, index) for index in range(400)))
    return np.stack(images), np.stack(labels)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "parent" / "shapes"
    shapes.write_dataset(folder, seed=3, train=5, val=3)
    return folder


def read_list(folder, split):
    return (folder / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().splitlines()


def modification_times(folder):
    return {path: os.stat(path).st_mtime_ns for path in [folder, *folder.rglob("*")]}


def mean_iou(prediction, label):
    """Mean over the classes, void left out; prediction and label [...] of the same shape."""
    counted = label != VOID_LABEL
    prediction, label = prediction[counted], label[counted]
    ious = []
    for index in range(NUM_CLASSES):
        union = np.sum((prediction == index) | (label == index))
        ious.append(np.sum((prediction == index) & (label == index)) / max(union, 1))
    return float(np.mean(ious))


def test_classes_are_background_and_each_pair_of_texture_and_outline():
    names = [name for name, _ in shapes.CLASSES]
    pairs = [f"{texture}_{outline}" for texture in shapes.TEXTURES for outline in shapes.OUTLINES]
    assert names == ["background", *pairs]
    colors = [np.array(color) for _, color in shapes.CLASSES] + [np.array(shapes.VOID_COLOR)]
    for index, color in enumerate(colors):
        for other in colors[:index]:
            assert np.abs(color - other).max() >= 60


def test_types_and_sizes():
    for size in ((96, 96), (64, 80), (161, 97)):
        image, label = shapes.render(0, 1, *size)
        assert image.shape == (*size, 3) and image.dtype == np.uint8
        assert label.shape == size and label.dtype == np.uint8


def test_same_seed_and_index_give_the_same_bytes():
    shapes.render(5, 8)
    first, second = shapes.render(5, 7), shapes.render(5, 7)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()


def test_bytes_belong_to_the_generator_version():
    # A data set on disk is found by its version: whoever changes the images raises the version.
    image, label = shapes.render(0, 0)
    checksums = (zlib.crc32(image.tobytes()), zlib.crc32(label.tobytes()))
    assert (shapes.GENERATOR_VERSION, *checksums) == (2, 333429661, 2758006996)


@pytest.mark.parametrize("other", [(5, 8), (6, 7), (7, 5)])
def test_another_seed_or_index_gives_another_image(other):
    (image, label), (other_image, other_label) = shapes.render(5, 7), shapes.render(*other)
    assert np.mean(image != other_image) > 0.5
    assert np.mean(label != other_label) > 0.05


def test_label_values(rendered):
    _, labels = rendered
    assert set(np.unique(labels)) == {*range(NUM_CLASSES), VOID_LABEL}


def test_every_class_occurs_in_forty_images(rendered):
    _, labels = rendered
    for index in range(NUM_CLASSES):
        images_with_class = np.any(labels[:40] == index, axis=(1, 2)).sum()
        assert images_with_class >= 8


def test_no_class_takes_most_of_the_object_pixels(rendered):
    _, labels = rendered
    shares = np.array([np.mean(labels == index) for index in range(NUM_CLASSES)])
    assert 0.45 < shares[0] < 0.7
    assert shares[1:].min() > 0.03 and shares[1:].max() < 0.09
    assert 0.03 < np.mean(labels == VOID_LABEL) < 0.15


def test_void_parts_every_two_classes(rendered):
    _, labels = rendered
    neighbours = [
        (labels[:, 1:, :], labels[:, :-1, :]),
        (labels[:, :, 1:], labels[:, :, :-1]),
        (labels[:, 1:, 1:], labels[:, :-1, :-1]),
        (labels[:, 1:, :-1], labels[:, :-1, 1:]),
    ]
    for first, second in neighbours:
        touching = (first != second) & (first != VOID_LABEL) & (second != VOID_LABEL)
        assert not touching.any()


def test_void_borders_are_thin(rendered):
    _, labels = rendered
    void = labels == VOID_LABEL
    # A 7x7 block of void would be wider than any border, even where two borders meet.
    blocks = np.lib.stride_tricks.sliding_window_view(void[:40], (7, 7), axis=(1, 2))
    assert not blocks.all(axis=(-1, -2)).any()


def test_color_alone_does_not_tell_the_classes(rendered):
    images, labels = rendered
    levels = images.astype(np.int64) // 32
    bins = (levels[..., 0] * 8 + levels[..., 1]) * 8 + levels[..., 2]
    counts = np.ones((NUM_CLASSES, 8**3))
    for index in range(NUM_CLASSES):
        counts[index] += np.bincount(bins[:150][labels[:150] == index], minlength=8**3)
    test_bins, test_labels = bins[150:], labels[150:]
    always_background = mean_iou(np.zeros_like(test_labels), test_labels)
    assert always_background < 0.12

    most_frequent = counts.argmax(axis=0)[test_bins]
    assert mean_iou(most_frequent, test_labels) < always_background + 0.03
    balanced = (counts / counts.sum(axis=1, keepdims=True)).argmax(axis=0)[test_bins]
    assert mean_iou(balanced, test_labels) < always_background + 0.03


def test_colors_of_all_classes_spread_alike(rendered):
    images, labels = rendered
    means = np.stack([images[labels == index].mean(axis=0) for index in range(NUM_CLASSES)])
    spreads = np.stack([images[labels == index].std(axis=0) for index in range(NUM_CLASSES)])
    # The class means differ by much less than the colours within one class.
    assert spreads.min() > 35
    assert np.ptp(means, axis=0).max() < 0.5 * spreads.min()
    # The background is softer, and is seldom of one of its two colours alone.
    assert np.ptp(spreads[1:], axis=0).max() < 0.2 * spreads[1:].min()
    assert np.ptp(spreads, axis=0).max() < 0.35 * spreads.min()


def test_written_files_hold_what_render_gives(written):
    names = read_list(written, "train") + read_list(written, "val")
    assert len(names) == 8
    for index, name in enumerate(names):
        image, label = shapes.render(3, index)
        with Image.open(written / "JPEGImages" / f"{name}.png") as stored:
            assert stored.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(stored), image)
        with Image.open(written / "SegmentationClass" / f"{name}.png") as stored:
            assert stored.mode == "P"
            np.testing.assert_array_equal(np.asarray(stored), label)
            palette = np.reshape(stored.getpalette(), (-1, 3))
        for class_index, (_, color) in enumerate(shapes.CLASSES):
            assert tuple(palette[class_index]) == color
        assert tuple(palette[VOID_LABEL]) == shapes.VOID_COLOR


def test_written_layout(written):
    train, val = read_list(written, "train"), read_list(written, "val")
    assert (len(train), len(val)) == (5, 3)
    assert not set(train) & set(val)
    files = {f"{name}.png" for name in train + val}
    assert {path.name for path in (written / "JPEGImages").iterdir()} == files
    assert {path.name for path in (written / "SegmentationClass").iterdir()} == files
    assert [path.name for path in written.parent.iterdir()] == ["shapes"]


def test_written_description(written):
    description = json.loads((written / "classes.json").read_text())
    assert description["name"] == "shapes"
    assert description["ignore_label"] == VOID_LABEL
    classes = [(entry["name"], tuple(entry["color"])) for entry in description["classes"]]
    assert tuple(classes) == shapes.CLASSES
    assert description["generator"] == {
        "version": shapes.GENERATOR_VERSION,
        "seed": 3,
        "train": 5,
        "val": 3,
    }


def test_second_call_leaves_the_files_alone(written):
    before = modification_times(written)
    shapes.write_dataset(written, seed=3, train=5, val=3)
    assert modification_times(written) == before


@pytest.mark.parametrize("other", [{"seed": 4}, {"train": 6}, {"val": 2}])
def test_refuses_a_folder_made_with_other_settings(written, other):
    before = modification_times(written)
    with pytest.raises(FileExistsError, match=r"holds .*'seed': 3.*, not the data set shapes of "):
        shapes.write_dataset(written, **{"seed": 3, "train": 5, "val": 3, **other})
    assert modification_times(written) == before


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"name": "mine", "classes": []}'])
def test_refuses_a_foreign_folder(tmp_path, content):
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "classes.json").write_text(content)
    with pytest.raises(FileExistsError, match="holds other files") as caught:
        shapes.write_dataset(foreign, train=1, val=1)
    assert "\n" not in str(caught.value)
    assert (foreign / "classes.json").read_text() == content
    assert [path.name for path in foreign.iterdir()] == ["classes.json"]


def test_an_interrupted_call_leaves_nothing(tmp_path, monkeypatch):
    original = shapes.render

    def interrupted(seed, index):
        if index == 2:
            raise KeyboardInterrupt
        return original(seed, index)

    monkeypatch.setattr(shapes, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shapes.write_dataset(tmp_path / "shapes", train=3, val=1)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    shapes.write_dataset(tmp_path / "shapes", train=3, val=1)
    assert len(read_list(tmp_path / "shapes", "train")) == 3
