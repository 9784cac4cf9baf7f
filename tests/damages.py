"""Ways to damage a data set of `tests.folders.make_voc_folder`; each returns words that tell it.

The data set has train_0 to train_3, val_0 and val_1.
"""

import json
import os
import shutil
import struct

import numpy as np
from PIL import Image

from tests.folders import PNG_START, png_chunk


def lose_image(data):
    (data / "JPEGImages" / "train_1.jpg").unlink()
    return "train_1"


def lose_validation_label(data):
    (data / "SegmentationClass" / "val_1.png").unlink()
    return "val_1.png"


def label_no_class(data):
    path = data / "SegmentationClass" / "val_0.png"
    label = np.array(Image.open(path))
    label[3, 5] = 77
    Image.fromarray(label).save(path)
    return "val_0.png", "77"


def label_another_size(data):
    path = data / "SegmentationClass" / "val_1.png"
    Image.open(path).resize((32, 24)).save(path)
    return "val_1.png", "32x24", "64x48"


def label_in_colours(data):
    path = data / "SegmentationClass" / "val_0.png"
    Image.open(path).convert("RGB").save(path)
    return "val_0.png", "RGB"


def cut_every(folder, pattern):
    for path in folder.glob(pattern):
        path.write_bytes(path.read_bytes()[:300])


def cut_training_images(data):
    cut_every(data / "JPEGImages", "train_*.jpg")
    return "train_", ".jpg", "cut off"


def cut_validation_image(data):
    cut_every(data / "JPEGImages", "val_1.jpg")
    return "val_1.jpg", "cut off"


def cut_label(data):
    cut_every(data / "SegmentationClass", "val_0.png")
    return "val_0.png", "cut off"


def foreign_format(data):
    path = data / "JPEGImages" / "val_0.jpg"
    Image.open(path).save(path, "WEBP")
    return "val_0.jpg", "WEBP", "JPEG"


def empty_list(data):
    (data / "ImageSets" / "Segmentation" / "train.txt").write_text("\n \n")
    return "train.txt", "empty"


def lose_list(data):
    (data / "ImageSets" / "Segmentation" / "val.txt").unlink()
    return "val.txt"


def repeat_id(data):
    (data / "ImageSets" / "Segmentation" / "train.txt").write_text("train_0\ntrain_0\n")
    return "train.txt", "train_0", "twice"


def leave_folder(data):
    (data / "ImageSets" / "Segmentation" / "train.txt").write_text("../train_0\n")
    return "train.txt", "../train_0"


def lose_classes(data):
    (data / "classes.json").unlink()
    return "classes.json"


def break_classes(data):
    (data / "classes.json").write_text('{"classes": [')
    return "classes.json", "JSON"


def colourless_class(data):
    document = json.loads((data / "classes.json").read_text())
    document["classes"][1]["color"] = [1, 2, 300]
    (data / "classes.json").write_text(json.dumps(document))
    return "classes.json", "class 1", "300"


def lose_folder(data):
    shutil.rmtree(data)
    return str(data)


def image_path(data, image_id):
    return data / "JPEGImages" / f"{image_id}.jpg"


def label_path(data, image_id):
    return data / "SegmentationClass" / f"{image_id}.png"


def write_list(data, split, content):
    (data / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(content, "utf-8")


# Images and labels that are no such files


def empty_image(data):
    image_path(data, "train_2").write_bytes(b"")
    return "train_2.jpg", "is empty"


def text_as_image(data):
    image_path(data, "train_2").write_text("no picture")
    return "train_2.jpg", "is no image"


def text_as_label(data):
    label_path(data, "train_2").write_text("no picture")
    return "train_2.png", "is no image"


def jpeg_as_label(data):
    path = label_path(data, "train_3")
    Image.open(path).convert("L").save(path, "JPEG")
    return "train_3.png", "is a JPEG file", "allowed: PNG"


def damage_inside(data, image_id="train_1"):
    """Damages an image in its middle, so that only decoding can tell; returns its new name."""
    path = image_path(data, image_id)
    image = Image.open(path).convert("RGB")
    path.unlink()
    image.save(path := path.with_suffix(".png"))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    return path.name


def wrong_checksum(data):
    path = image_path(data, "train_1")
    Image.open(path).convert("RGB").save(path, "PNG")
    content = bytearray(path.read_bytes())
    content[-13] ^= 1  # Before the last part, of 12 bytes: the checksum of the pixels.
    path.write_bytes(content)
    return "train_1.jpg", "damaged or cut off"


def _bomb(path):
    """Writes a PNG of few bytes that claims 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    path.write_bytes(PNG_START + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b""))
    return path.name, "3600000000 pixels", "limit of 178956970"


def bomb_as_image(data):
    return _bomb(image_path(data, "train_0"))


def bomb_as_label(data):
    return _bomb(label_path(data, "train_0"))


def _replace(path, make):
    path.unlink()
    make(path)
    return path.name


def folder_as_image(data):
    return _replace(image_path(data, "train_0"), os.mkdir), "is a folder, allowed: a file"


def folder_as_label(data):
    return _replace(label_path(data, "train_0"), os.mkdir), "is a folder, allowed: a file"


def pipe_as_image(data):
    return _replace(image_path(data, "val_0"), os.mkfifo), "is a pipe, allowed: a file"


def pipe_as_label(data):
    return _replace(label_path(data, "train_0"), os.mkfifo), "is a pipe, allowed: a file"


def device_as_image(data):
    name = _replace(image_path(data, "val_0"), lambda path: path.symlink_to("/dev/zero"))
    return name, "is a device, allowed: a file"


def broken_link_as_image(data):
    name = _replace(image_path(data, "val_0"), lambda path: path.symlink_to("gone.jpg"))
    return name, "is a link to 'gone.jpg', which is not there"


# Lists and classes


def pipe_as_list(data):
    _replace(data / "ImageSets" / "Segmentation" / "val.txt", os.mkfifo)
    return "val.txt", "no regular file"


def pipe_as_classes(data):
    return _replace(data / "classes.json", os.mkfifo), "no regular file"


def large_classes(data):
    (data / "classes.json").write_text(json.dumps({"classes": [], "more": "x" * 2**20}))
    return "classes.json", "allowed: 1048576"


def deep_classes(data):
    (data / "classes.json").write_text("[" * 200_000)
    return "classes.json", "is no JSON"


def change_classes(data, change):
    document = json.loads((data / "classes.json").read_text("utf-8"))
    change(document["classes"])
    (data / "classes.json").write_text(json.dumps(document), "utf-8")


def name_classes_alike(data):
    change_classes(data, lambda classes: classes[2].update(name="class1"))
    return "classes.json", "two classes of one name, 'class1'"


def share_id(data):
    write_list(data, "val", "val_0\ntrain_1\n")
    return "'val'", "training image 'train_1'"


def share_content(data):
    for path in (image_path, label_path):
        shutil.copy(path(data, "train_3"), path(data, "val_1"))
    return "val_1.jpg, for validation", "train_3.jpg; allowed: different images"


def absolute_id(data):
    write_list(data, "val", "val_0\n/etc/passwd\n")
    return "val.txt", "'/etc/passwd'", "file names without folder"


def id_with_suffix(data):
    write_list(data, "val", "val_0.jpg\n")
    return "val_0.jpg.jpg", "; 'val_0.jpg' is there: a list has ids without suffix"


def lose_training_labels(data):
    for path in (data / "SegmentationClass").glob("train_*"):
        path.unlink()
    return "'train'", "has a label"
