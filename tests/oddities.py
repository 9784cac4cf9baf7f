"""Names that look alike, and what works but may not be meant; each as in `tests.damages`."""

import unicodedata

import numpy as np
from PIL import Image

from tests.damages import change_classes, image_path, label_path
from tests.folders import VOID


def rename_id(data, split, old, new):
    """Gives an image, its label and its line in the list another name."""
    image_path(data, old).rename(image_path(data, new))
    label_path(data, old).rename(label_path(data, new))
    path = data / "ImageSets" / "Segmentation" / f"{split}.txt"
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")


def _decompose(path):
    """Renames a file to the decomposed Unicode form of its name, as macOS writes names."""
    path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))


#: Composed, as most editors write it.
_NAME = "stra\u00dfe caf\u00e9"
_TOLD = "differs in its Unicode form (NFD, and the list has NFC): rename one"


def decomposed_image(data):
    rename_id(data, "train", "train_0", _NAME)
    _decompose(image_path(data, _NAME))
    return "no image", f"{_NAME}.jpg", _TOLD


def decomposed_validation_label(data):
    rename_id(data, "val", "val_0", _NAME)
    _decompose(label_path(data, _NAME))
    return "no label", f"{_NAME}.png", _TOLD


# What works, and may not be meant


def decomposed_training_label(data):
    rename_id(data, "train", "train_0", _NAME)
    _decompose(label_path(data, _NAME))
    return "no label", f"{_NAME}.png", _TOLD


def label_of_another_case(data):
    path = label_path(data, "train_0")
    path.rename(path.with_suffix(".PNG"))
    return "'train_0.PNG' is there", "upper and lower case"


def ids_alike(data):
    rename_id(data, "train", "train_0", "TRAIN_1")
    return "'TRAIN_1', 'train_1'", "case"


def second_image(data):
    path = image_path(data, "train_1")
    Image.open(path).save(path.with_suffix(".png"))
    return "train_1.png is not used", "train_1.jpg is taken"


def color_classes_alike(data):
    change_classes(data, lambda classes: classes[2].update(color=classes[0]["color"]))
    return "'class0', 'class2'", "[40, 40, 40]"


def unseen_class(data):
    change_classes(data, lambda classes: classes.append({"name": "moon", "color": [1, 2, 3]}))
    return "no label shows the class 'moon'"


def void_label(data):
    Image.fromarray(np.full((48, 64), VOID, np.uint8)).save(label_path(data, "train_1"))
    return "train_1.png is void everywhere"


def link_out(data):
    path, store = image_path(data, "val_1"), data.parent / "store.jpg"
    path.rename(store)
    path.symlink_to(store)
    return "val_1.jpg is a link to", "store.jpg, outside of the data folder"


def link_folder_out(data):
    path, store = data / "SegmentationClass", data.parent / "store"
    path.rename(store)
    path.symlink_to(store)
    return "SegmentationClass is a link to", "store, outside of the data folder"
