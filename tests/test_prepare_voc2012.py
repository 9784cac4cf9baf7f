"""VOC 2012 prepared from miniature archives in the publishers' formats."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.archives_made import (
    VOID,
    content_of,
    extracted,
    indexed,
    label,
    list_text,
    official_digest,
    picture,
    prepare,
    tar,
)
from tf_advseg.data.prepare import cityscapes, download, voc2012

OTHER = "--allow_other_archive"
LABELS = "SegmentationClass"


def ids_in(folder, name):
    return (folder / "ImageSets/Segmentation" / f"{name}.txt").read_text().split("\n")[:-1]


def read(folder, image_id):
    """Returns the indices in a label file, [H, W]."""
    with Image.open(folder / LABELS / f"{image_id}.png") as image:
        assert image.mode == "P"
        return np.array(image)


def test_voc_and_sbd(made, tmp_path, capsys):
    voc, folder = made
    assert prepare("voc2012", "--data_dir", folder, *voc.both(tmp_path)) == 0
    # 2007_000033 is in SBD's list and in VOC's val: it must not be trained on.
    aug = ["2007_000032", "2007_000039", "2008_000002", "2008_000008", "2009_000001"]
    assert ids_in(folder, "train_aug") == aug
    assert ids_in(folder, "train") == ["2007_000032", "2007_000039", "2008_000008"]
    assert ids_in(folder, "val") == ["2007_000033", "2007_000042"]
    listed = {*aug, "2007_000033", "2007_000042"}
    found = content_of(folder)
    assert set(found) == {
        "prepare.json",
        "classes.json",
        *(f"ImageSets/Segmentation/{name}.txt" for name in ("train_aug", "train", "val")),
        *(f"JPEGImages/{i}.jpg" for i in listed),
        *(f"{LABELS}/{i}.png" for i in listed),
    }
    for image_id in listed:
        assert found[f"JPEGImages/{image_id}.jpg"] == voc.images[image_id]
    # 2007_000032 is VOC's alone, 2008_000002 SBD's alone; both have 2008_000008 and 2007_000033.
    for image_id, expected in {
        "2007_000032": (0, 1, VOID),
        "2008_000008": (0, 2, VOID),
        "2007_000033": (0, 4, VOID),
        "2008_000002": (0, 12),
        "2009_000001": (0, 14),
    }.items():
        np.testing.assert_array_equal(read(folder, image_id), label(*expected))
    out = capsys.readouterr().out
    assert "5 images in train_aug, 3 images in train, 2 images in val" in out
    command = f"python train.py --dataset voc2012 --data_dir {folder} --preset paper "
    assert command + "--labeled_fraction 0.125\n" in out
    assert "may be deleted" not in out  # They are not in D/archives.


def test_palette_classes_and_pixels(made, tmp_path):
    voc, folder = made
    prepare("voc2012", "--data_dir", folder, *voc.both(tmp_path))
    with Image.open(folder / LABELS / "2007_000039.png") as image:
        palette = np.array(image.getpalette()).reshape(-1, 3)
        shown = np.array(image.convert("RGB"))
    assert [palette[i].tolist() for i in (0, 1, 15, 20, 255)] == [
        [0, 0, 0],
        [128, 0, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]
    # Background, bird (3) and void, each a third of 56 columns.
    assert [shown[7, x].tolist() for x in (0, 18, 19, 37, 38, 55)] == [
        *[[0, 0, 0]] * 2,
        *[[128, 128, 0]] * 2,
        *[[224, 224, 192]] * 2,
    ]
    classes = json.loads((folder / "classes.json").read_text())
    assert (classes["name"], classes["ignore_label"], len(classes["classes"])) == (
        "voc2012",
        255,
        21,
    )
    assert classes["classes"][15] == {"name": "person", "color": [192, 128, 128]}


def test_merged_labels(made, tmp_path):
    voc, folder = made
    archives = "--archive", voc.aug(tmp_path), f"--archive={voc.voc(tmp_path)}"
    assert prepare("voc2012", "--data_dir", folder, "--labels", "aug", *archives, OTHER) == 0
    aug = ["2007_000032", "2007_000039", "2008_000002", "2008_000008", "2009_000001"]
    assert ids_in(folder, "train_aug") == aug
    assert ids_in(folder, "val") == ["2007_000033", "2007_000042"]
    # Where VOC labels an image, its label is taken, as with SBD; 2009_000001 is in the zip alone.
    np.testing.assert_array_equal(read(folder, "2007_000032"), label(0, 1, VOID))
    np.testing.assert_array_equal(read(folder, "2008_000008"), label(0, 2, VOID))
    np.testing.assert_array_equal(read(folder, "2009_000001"), label(0, 18, VOID))
    np.testing.assert_array_equal(read(folder, "2007_000033"), label(0, 4, VOID))


@pytest.mark.parametrize("labels", ["sbd", "aug"])
def test_label_of_voc_wins_also_where_it_lists_the_image_nowhere(labels, made, tmp_path):
    voc, folder = made
    voc.voc_labels["2009_000001"] = indexed(label(7, 8))
    further = {"sbd": voc.sbd, "aug": voc.aug}[labels](tmp_path)
    archives = "--archive", voc.voc(tmp_path), "--archive", further, OTHER
    assert prepare("voc2012", "--data_dir", folder, "--labels", labels, *archives) == 0
    np.testing.assert_array_equal(read(folder, "2009_000001"), label(7, 8))
    assert "2009_000001" in ids_in(folder, "train_aug")


def test_labels_of_voc_alone(made, tmp_path, capsys):
    voc, folder = made
    archive = "--archive", voc.voc(tmp_path), OTHER
    assert prepare("voc2012", "--data_dir", folder, "--labels", "voc", *archive) == 0
    assert sorted(p.name for p in (folder / "ImageSets/Segmentation").iterdir()) == [
        "train.txt",
        "val.txt",
    ]
    assert len(list((folder / LABELS).iterdir())) == 5
    # The presets would look for train_aug.
    assert "--preset paper --train_split train " in capsys.readouterr().out


def test_what_is_downloaded_can_be_proved():
    parts = voc2012.VOC, voc2012.SBD, voc2012.AUG, cityscapes.IMAGES, cityscapes.LABELS
    assert [part.title for part in parts if part.url] == ["VOC 2012", "SBD"]
    assert all(part.digest for part in parts if part.url)


def test_checksum_and_counts_are_the_official_ones(made, tmp_path, fails, capsys, monkeypatch):
    voc, folder = made
    archives = voc.both(tmp_path)[:-1]
    says = "has another checksum than the official VOCtrainval_11-May-2012.tar", voc2012.VOC.url
    fails("--data_dir", folder, *archives, says=(*says, OTHER))
    assert not folder.exists()
    monkeypatch.setattr(download, "digest", official_digest)
    fails("--data_dir", folder, *archives, says=("train_aug", "5 images", "official 10582", OTHER))
    assert not folder.exists()
    assert prepare("voc2012", "--data_dir", folder, *archives, OTHER) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["warning"] * 3
    origins = json.loads((folder / "prepare.json").read_text())["archives"]
    assert [origin["digest"] for origin in origins] == [
        "sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        "md5:82b4d87ceb2ed10f6038a1cba92111cb",
    ]


def test_official_archives_and_counts_pass_silently(made, tmp_path, capsys, monkeypatch):
    voc, folder = made
    monkeypatch.setattr(download, "digest", official_digest)
    monkeypatch.setattr(voc2012, "_COUNTS", {"train_aug": 5, "train": 3, "val": 2})
    assert prepare("voc2012", "--data_dir", folder, *voc.both(tmp_path)[:-1]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda m, top: m.pop(f"{top}/JPEGImages/2009_000001.jpg"),
            "has no VOCdevkit/VOC2012/JPEG",
        ),
        (lambda m, top: m.pop(f"{top}/SegmentationClass/2007_000042.png"), "2007_000042.png"),
        (lambda m, top: m.pop(f"{top}/ImageSets/Segmentation/val.txt"), "val.txt is missing"),
        (
            lambda m, top: m.update({f"{top}/ImageSets/Segmentation/val.txt": b"../../x\n"}),
            "'../../x'",
        ),
        (lambda m, top: m.update({f"{top}/ImageSets/Segmentation/val.txt": b"\xff\n"}), "ASCII"),
        (lambda m, top: m.update({f"{top}/ImageSets/Segmentation/val.txt": b"\n"}), "is empty"),
        (
            lambda m, top: m.update(
                {f"{top}/ImageSets/Segmentation/val.txt": list_text(["2008_000008"])}
            ),
            "'2008_000008' in both",
        ),
        (
            lambda m, top: m.update({f"x/{top}/JPEGImages/2007_000032.jpg": b"again"}),
            "JPEGImages/2007_000032.jpg twice",
        ),
    ],
)
def test_wrong_archive_of_voc(change, says, made, tmp_path, fails):
    voc, folder = made
    members = voc.voc_members()
    change(members, "VOCdevkit/VOC2012")
    archives = "--archive", tar(tmp_path / "voc.tar", members), "--archive", voc.sbd(tmp_path)
    fails("--data_dir", folder, *archives, OTHER, says=("voc.tar", says))
    assert not folder.exists()


def test_image_and_label_of_two_sizes_or_damaged(made, tmp_path, fails):
    voc, folder = made
    voc.images["2007_000039"] = picture(0, "JPEG", (40, 57))
    fails("--data_dir", folder, *voc.both(tmp_path), says=("2007_000039.png is 56x40", "57x40"))
    shutil.rmtree(folder)
    voc.images["2007_000039"] = picture(0, "JPEG")[:-99]
    fails("--data_dir", folder, *voc.both(tmp_path), says=("2007_000039.jpg", "cut off"))
    assert not (folder / "ImageSets").exists(), "it looks finished"


@pytest.mark.parametrize(
    ("top", "labels"),
    # In the second there is more than is needed.
    [(".", "sbd"), (".", "voc"), ("VOCdevkit", "voc"), ("VOCdevkit/VOC2012", "voc")],
)
def test_extracted_folder(top, labels, made, tmp_path, fails):
    voc, folder = made
    source = extracted(tmp_path / "all", {**voc.voc_members(), **voc.sbd_members()})
    flags = "--data_dir", folder, "--labels", labels
    fails(*flags, "--archive", source / top, says=("is a folder, without checksum", OTHER))
    assert prepare("voc2012", *flags, "--archive", source / top, OTHER) == 0
    np.testing.assert_array_equal(read(folder, "2008_000008"), label(0, 2, VOID))
    # What is beside the data set does not make it another.
    (folder / "ImageSets/Segmentation/val.txt").unlink()
    (source / "VOCdevkit/notes.txt").write_text("mine")
    assert prepare("voc2012", *flags, "--archive", source / top, OTHER) == 0
    (folder / "ImageSets/Segmentation/val.txt").unlink()
    # Two names changed places: as many bytes as before.
    files = [source / f"VOCdevkit/VOC2012/JPEGImages/{i}.jpg" for i in ("2012_004331", *voc.train)]
    files[0].rename(source / "kept")
    files[1].rename(files[0])
    (source / "kept").rename(files[1])
    fails(*flags, "--archive", source / top, OTHER, says="was begun with other archives")
