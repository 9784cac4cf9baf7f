"""The files of a training run, found and checked together."""

import numpy as np
import pytest
from PIL import Image

from tf_advseg.data import files, splits
from tf_advseg.errors import InputError


@pytest.fixture
def dataset(voc_folder):
    return files.open_dataset("folder", voc_folder(train=5, val=2, num_classes=4))


@pytest.fixture
def split():
    return splits.Split(("train_1", "train_3"), ("train_0", "train_2", "train_4"))


def names(paths):
    return [path.name for path in paths]


def test_every_file_is_found(dataset, split):
    found = files.training_files(dataset, split, "val", uses_unlabeled=True)
    assert found.classes == dataset.classes
    assert found.split == split
    assert found.labeled.ids == ("train_1", "train_3")
    assert names(found.labeled.images) == ["train_1.jpg", "train_3.jpg"]
    assert names(found.unlabeled) == ["train_0.jpg", "train_2.jpg", "train_4.jpg"]
    assert found.validation.ids == ("val_0", "val_1")
    assert names(found.validation.images) == ["val_0.jpg", "val_1.jpg"]
    for part in (found.labeled, found.validation):
        for image_id, cached in zip(part.ids, part.labels, strict=True):
            with Image.open(cached) as label, Image.open(dataset.label_path(image_id)) as source:
                np.testing.assert_array_equal(np.asarray(label), np.asarray(source))


def test_unlabeled_images_are_looked_at_only_if_they_are_used(dataset, split):
    dataset.image_path("train_0").write_bytes(b"no picture")
    dataset.image_path("train_2").unlink()
    assert files.training_files(dataset, split, "val", uses_unlabeled=False).unlabeled == ()
    with pytest.raises(InputError, match="train_2"):
        files.training_files(dataset, split, "val", uses_unlabeled=True)
    only_broken = splits.Split(split.labeled, ("train_0",))
    with pytest.raises(InputError, match=r"train_0\.jpg is no image"):
        files.training_files(dataset, only_broken, "val", uses_unlabeled=True)


def test_labels_of_unlabeled_images_are_not_read(dataset, split):
    dataset.label_path("train_0").write_bytes(b"no picture")
    dataset.label_path("train_2").unlink()
    found = files.training_files(dataset, split, "val", uses_unlabeled=True)
    assert len(found.unlabeled) == 3


def test_broken_validation_label_is_found_before_training(dataset, split):
    dataset.label_path("val_1").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"val_1\.png"):
        files.training_files(dataset, split, "val", uses_unlabeled=True)


def test_classes_without_label_are_those_no_labeled_image_shows(dataset, split):
    found = files.training_files(dataset, split, "val", uses_unlabeled=True)
    assert found.classes_without_label() == []
    for image_id, value in (("train_1", 0), ("train_3", 2)):
        path = dataset.label_path(image_id)
        Image.fromarray(np.full((48, 64), value, np.uint8)).save(path)
    # The unlabeled and validation images still show every class; they do not count.
    found = files.training_files(dataset, split, "val", uses_unlabeled=True)
    assert found.classes_without_label() == ["class1", "class3"]


def test_shapes_is_written_where_it_is_missing_and_opened_again(tmp_path, monkeypatch):
    from tf_advseg.data import shapes

    write = shapes.write_dataset
    monkeypatch.setattr(shapes, "write_dataset", lambda folder: write(folder, train=2, val=1))
    for _ in range(2):
        dataset = files.open_dataset("shapes", tmp_path / "data" / "shapes")
        assert dataset.classes.name == "shapes"
        assert len(dataset.ids("train")) == 2
        assert len(files.labeled_files(dataset, tuple(dataset.ids("val"))).labels) == 1


def test_unknown_dataset_is_told(tmp_path):
    with pytest.raises(InputError, match="'imagenet'; allowed: shapes"):
        files.open_dataset("imagenet", tmp_path)


def test_image_for_training_and_validation_is_refused(voc_folder):
    folder = voc_folder(train=3, val=2)
    lists = folder / "ImageSets" / "Segmentation"
    lists.joinpath("val.txt").write_text("val_0\ntrain_1\n")
    dataset = files.open_dataset("folder", folder)
    split = splits.by_fraction(dataset, "train", 1.0, seed=0)
    with pytest.raises(InputError, match="'val' has the training image 'train_1'"):
        files.training_files(dataset, split, "val", uses_unlabeled=False)
