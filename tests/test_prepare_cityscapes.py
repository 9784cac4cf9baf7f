"""Cityscapes prepared from miniature archives in the publisher's formats."""

import functools
import json

import numpy as np
import pytest
from PIL import Image

from tests.archives_made import (
    PREPARE,
    VOID,
    Cityscapes,
    content_of,
    encoded,
    extracted,
    grey,
    indexed,
    label,
    prepare,
    zipped,
)
from tests.runs import fails_with

OTHER = "--allow_other_archive"
SIZE = (40, 68)

#: cityscapesScripts, helpers/labels.py: id -> training id, row by row; 255 where it is ignored.
TRAIN_IDS = [
    *[255] * 7,  # unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground
    *[0, 1],  # road, sidewalk
    *[255] * 2,  # parking, rail track
    *[2, 3, 4],  # building, wall, fence
    *[255] * 3,  # guard rail, bridge, tunnel
    *[5, 255],  # pole, polegroup
    *[6, 7, 8, 9, 10],  # traffic light, traffic sign, vegetation, terrain, sky
    *[11, 12, 13, 14, 15],  # person, rider, car, truck, bus
    *[255] * 2,  # caravan, trailer
    *[16, 17, 18],  # train, motorcycle, bicycle
]


@pytest.fixture
def fails(capsys):
    """As `tests.runs.fails_with`, for the command."""
    return functools.partial(fails_with, capsys, PREPARE, "cityscapes")


def read(folder, image_id):
    """Returns the indices in a label file, [H, W]."""
    with Image.open(folder / "SegmentationClass" / f"{image_id}.png") as image:
        assert image.mode == "P"
        return np.array(image)


def check_prepared(folder, made):
    """Checks lists, images and labels."""
    lists = folder / "ImageSets/Segmentation"
    assert sorted(path.name for path in lists.iterdir()) == ["train.txt", "val.txt"]
    assert (lists / "train.txt").read_text() == (
        "aachen_000000_000019\naachen_000001_000019\nulm_000000_000019\nzurich_000121_000019\n"
    )
    assert (lists / "val.txt").read_text() == "frankfurt_000000_000294\nmunster_000173_000019\n"
    images = {path.stem: path.read_bytes() for path in (folder / "JPEGImages").iterdir()}
    assert images == {path.split("/")[2]: content for path, content in made.images.items()}
    assert {path.suffix for path in (folder / "JPEGImages").iterdir()} == {".png"}
    assert len(list((folder / "SegmentationClass").iterdir())) == 6
    # All 34 ids, each in a stripe of two columns.
    np.testing.assert_array_equal(
        read(folder, "aachen_000000_000019"), label(*TRAIN_IDS, size=SIZE)
    )
    np.testing.assert_array_equal(read(folder, "ulm_000000_000019"), label(2, 1, size=SIZE))
    np.testing.assert_array_equal(read(folder, "munster_000173_000019"), label(0, 8, size=SIZE))


def test_archives(tmp_path, capsys):
    made, folder = Cityscapes(), tmp_path / "D"
    assert prepare("cityscapes", "--data_dir", folder, *made.both(tmp_path)) == 0
    check_prepared(folder, made)
    out, err = capsys.readouterr()
    assert "cityscapes: 4 images in train, 2 images in val" in out
    assert f"python train.py --dataset cityscapes --data_dir {folder} --preset paper" in out
    # There is no checksum to miss.
    assert [line.split(" has ")[0] for line in err.splitlines()] == [
        "warning: the list train",
        "warning: the list val",
    ]
    classes = json.loads((folder / "classes.json").read_text())
    assert (classes["ignore_label"], len(classes["classes"])) == (255, 19)


def test_colors_of_a_label(tmp_path):
    made, folder = Cityscapes(), tmp_path / "D"
    prepare("cityscapes", "--data_dir", folder, *made.both(tmp_path))
    with Image.open(folder / "SegmentationClass/aachen_000000_000019.png") as image:
        shown = image.convert("RGB")
    # Ids 6, 7, 8, 26 and 33: ground (void), road, sidewalk, car, bicycle.
    assert [shown.getpixel((2 * label_id, 9)) for label_id in (6, 7, 8, 26, 33)] == [
        (224, 224, 192),
        (128, 64, 128),
        (244, 35, 232),
        (0, 0, 142),
        (119, 11, 32),
    ]


@pytest.mark.parametrize("way", ["one folder above", "both folders", "a folder and a zip"])
def test_extracted_folders(way, tmp_path):
    made, folder, source = Cityscapes(), tmp_path / "D", tmp_path / "downloads"
    extracted(source, {**made.image_members(), **made.label_members()})
    archives = {
        "one folder above": [source],
        "both folders": [source / "gtFine", source / "leftImg8bit"],
        "a folder and a zip": [
            source / "leftImg8bit",
            zipped(tmp_path / "x.zip", made.label_members()),
        ],
    }[way]
    flags = [word for archive in archives for word in ("--archive", archive)]
    assert prepare("cityscapes", "--data_dir", folder, *flags, OTHER) == 0
    check_prepared(folder, made)
    before = content_of(folder)
    assert prepare("cityscapes", "--data_dir", folder, *flags, OTHER) == 0
    assert content_of(folder) == before


def test_number_of_images_is_the_official_one(tmp_path, fails):
    made, folder = Cityscapes(), tmp_path / "D"
    says = "the list train has 4 images", "official 2975", OTHER
    fails("--data_dir", folder, *made.both(tmp_path)[:-1], says=says)
    assert not folder.exists()


def test_missing_archives(tmp_path, fails):
    made, folder = Cityscapes(), tmp_path / "D"
    archives = made.both(tmp_path)
    to = "--data_dir", folder
    says = "https://www.cityscapes-dataset.com/downloads/", "login", "--archive FILE"
    fails(*to, says=("leftImg8bit_trainvaltest.zip", *says))
    fails(*to, *archives[:2], says=("gtFine_trainvaltest.zip", *says))
    fails(*to, *archives[2:4], says=("leftImg8bit_trainvaltest.zip", *says))
    fails(*to, "--download", says="--download")
    other = zipped(tmp_path / "trainextra.zip", {"leftImg8bit/train_extra/a/a_1_2.png": b""})
    fails(*to, "--archive", other, says=("holds nothing that is known", "leftImg8bit/"))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (grey(label(7, 34, size=SIZE)), "has the value 34; allowed: 0-33"),
        (grey(label(7, VOID, size=SIZE)), "has the value 255; allowed: 0-33"),
        (encoded(Image.new("RGB", SIZE[::-1])), "mode RGB and 8 bits"),
        (encoded(Image.new("I;16", SIZE[::-1])), "mode I;16"),
        (b"nothing", "is no PNG"),
    ],
)
def test_wrong_label(content, says, tmp_path, fails):
    made, folder = Cityscapes(), tmp_path / "D"
    made.labels["train/ulm/ulm_000000_000019"] = content
    member = "gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png"
    fails("--data_dir", folder, *made.both(tmp_path), says=("gtFine_trainv", member, says))
    assert not (folder / "ImageSets").exists(), "it looks finished"


def test_indexed_label_is_read_by_its_indices(tmp_path):
    made, folder = Cityscapes(), tmp_path / "D"
    made.labels["train/ulm/ulm_000000_000019"] = indexed(label(26, 7, size=SIZE))
    assert prepare("cityscapes", "--data_dir", folder, *made.both(tmp_path)) == 0
    np.testing.assert_array_equal(read(folder, "ulm_000000_000019"), label(13, 0, size=SIZE))


def test_images_and_labels_must_be_pairs(tmp_path, fails):
    folder = tmp_path / "D"
    without_label, without_image, twice = Cityscapes(), Cityscapes(), Cityscapes()
    del without_label.labels["val/munster/munster_000173_000019"]
    says = "gtFine_trainvaltest.zip has no gtFine/val/munster/munster_000173_000019_gtFine_labelIds"
    fails("--data_dir", folder, *without_label.both(tmp_path), says=says)
    del without_image.images["val/munster/munster_000173_000019"]
    says = "has no leftImg8bit/val/munster/munster_000173_000019_leftImg8bit.png"
    fails("--data_dir", folder, *without_image.both(tmp_path), says=says)
    for files in (twice.images, twice.labels):
        files["val/ulm/ulm_000000_000019"] = files["train/ulm/ulm_000000_000019"]
    says = "two images of the id ulm_000000_000019"
    fails("--data_dir", folder, *twice.both(tmp_path), says=says)
    assert not folder.exists()
