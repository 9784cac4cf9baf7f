"""The VOC layout: classes.json, lists, and where files are."""

import json

import pytest

from tf_advseg.data import catalog
from tf_advseg.data.classes import CITYSCAPES, VOC2012, Classes, voc_color
from tf_advseg.data.classes_file import read_classes
from tf_advseg.data.lists import read_list
from tf_advseg.errors import InputError

CAT, DOG = {"name": "cat", "color": [1, 2, 3]}, {"name": "dog", "color": [255, 0, 0]}


@pytest.fixture
def classes_file(tmp_path):
    """Writes a classes.json, from text or from what JSON can hold."""

    def write(document):
        path = tmp_path / "set" / "classes.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
        return path

    return write


def test_classes_are_read(classes_file):
    path = classes_file({"name": "pets", "ignore_label": 254, "classes": [CAT, DOG]})
    assert read_classes(path) == Classes("pets", ("cat", "dog"), ((1, 2, 3), (255, 0, 0)), 254)
    assert len(read_classes(path)) == 2


def test_name_and_void_have_defaults(classes_file):
    classes = read_classes(classes_file({"classes": [CAT, DOG]}))
    assert (classes.name, classes.void_value) == ("set", 255)


def test_classes_survive_json(classes_file):
    classes = Classes("ünï", ("a", "b c"), ((0, 0, 0), (9, 8, 7)), 100)
    assert read_classes(classes_file(classes.to_json())) == classes


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ([CAT, DOG], 'no list "classes"'),
        ({}, 'no list "classes"'),
        ({"classes": {"cat": CAT}}, 'no list "classes"'),
        ({"classes": []}, "0 classes; allowed: 2 to 255"),
        ({"classes": [CAT]}, "1 classes; allowed: 2 to 255"),
        ({"classes": [{"name": f"{i}", "color": [0, 0, 0]} for i in range(256)]}, "256 classes"),
        ({"classes": [CAT, CAT]}, "two classes of one name"),
        ({"classes": [CAT, "dog"]}, 'class 1 has no "name"'),
        ({"classes": [CAT, {"color": [0, 0, 0]}]}, 'class 1 has no "name"'),
        ({"classes": [CAT, {"name": 5, "color": [0, 0, 0]}]}, 'class 1 has no "name"'),
        ({"classes": [CAT, {"name": "dog"}]}, 'class 1 has "color" None'),
        ({"classes": [CAT, {"name": "dog", "color": "red"}]}, "class 1 has \"color\" 'red'"),
        ({"classes": [CAT, {"name": "dog", "color": [1, 2]}]}, r"allowed: \[R, G, B\] in 0-255"),
        ({"classes": [CAT, {"name": "dog", "color": [1, 2, 256]}]}, r"\[1, 2, 256\]"),
        ({"classes": [CAT, {"name": "dog", "color": [1, 2, -1]}]}, r"\[1, 2, -1\]"),
        ({"classes": [CAT, {"name": "dog", "color": [1, 2, 0.5]}]}, r"\[1, 2, 0.5\]"),
        ({"classes": [CAT, {"name": "dog", "color": [1, 2, True]}]}, r"\[1, 2, True\]"),
        ({"ignore_label": 1, "classes": [CAT, DOG]}, '"ignore_label" 1 is also a class id'),
        ({"ignore_label": 256, "classes": [CAT, DOG]}, '"ignore_label" is 256'),
        ({"ignore_label": -1, "classes": [CAT, DOG]}, '"ignore_label" is -1'),
        ({"ignore_label": None, "classes": [CAT, DOG]}, '"ignore_label" is None'),
    ],
)
def test_wrong_classes_are_told_with_the_file(document, words, classes_file):
    path = classes_file(document)
    with pytest.raises(InputError, match=words) as caught:
        read_classes(path)
    assert str(path) in str(caught.value)


def test_ignore_label_may_follow_the_last_class(classes_file):
    assert read_classes(classes_file({"ignore_label": 2, "classes": [CAT, DOG]})).void_value == 2


def test_missing_and_undecodable_classes_are_told(tmp_path):
    path = tmp_path / "classes.json"
    with pytest.raises(InputError, match=r"cannot read .*classes\.json: No such file"):
        read_classes(path)
    path.write_bytes(b'{"name": "\xff"}')
    with pytest.raises(InputError, match=r"classes\.json: it is no UTF-8"):
        read_classes(path)


def test_list_keeps_order_spaces_inside_ids_and_other_scripts(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes("b\r\n\r\n  two words  \nstraße_ö\n図\na.b\n".encode())
    assert read_list(path) == ["b", "two words", "straße_ö", "図", "a.b"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n  \n", "is empty"),
        (b"a\nb\na\n", "names 'a' twice"),
        (b"a\n\xff\xfe\n", "is no UTF-8 text"),
        (b"a\n../b\n", "'../b'"),
        (b"/a.jpg /a.png\n", "allowed: file names without folder"),
        (b"a\\b\n", "allowed: file names without folder"),
        (b"..\n", "allowed: file names without folder"),
    ],
)
def test_wrong_list_is_told_with_the_file(content, words, tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_list(path)
    assert str(path) in str(caught.value)


def test_missing_list_is_told(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*train\.txt: No such file"):
        read_list(tmp_path / "train.txt")
    with pytest.raises(InputError, match=r"cannot read .*: it is no regular file"):
        read_list(tmp_path)  # A folder.


def test_folder_is_opened(voc_folder):
    dataset = catalog.folder(voc_folder("pets", train=4, val=2, num_classes=3))
    assert dataset.classes.name == "pets"
    assert dataset.classes.names == ("class0", "class1", "class2")
    assert dataset.ids("train") == ["train_0", "train_1", "train_2", "train_3"]
    assert dataset.ids("val") == ["val_0", "val_1"]
    assert dataset.has_label("val_1")


def test_unknown_split_and_missing_folder_are_told(voc_folder, tmp_path):
    dataset = catalog.folder(voc_folder())
    with pytest.raises(InputError, match=r"ImageSets/Segmentation/test\.txt"):
        dataset.ids("test")
    with pytest.raises(InputError, match=r"--data_dir .*nowhere is no folder"):
        catalog.folder(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png"])
@pytest.mark.parametrize("image_id", ["plain", "two words", "straße", "a.b"])
def test_image_is_found_by_each_suffix(suffix, image_id, voc_folder):
    dataset = catalog.folder(voc_folder())
    path = dataset.folder / "JPEGImages" / (image_id + suffix)
    path.write_bytes(b"")
    assert dataset.image_path(image_id) == path
    assert dataset.label_path(image_id).name == f"{image_id}.png"
    assert not dataset.has_label(image_id)


def test_missing_image_is_named(voc_folder):
    dataset = catalog.folder(voc_folder())
    with pytest.raises(InputError, match=r"JPEGImages/lost\.jpg \(nor \.jpeg, \.png\).*'lost'"):
        dataset.image_path("lost")


def test_folder_inside_of_a_data_set_is_told_from_it(voc_folder):
    folder = voc_folder()
    for inner in ("JPEGImages", "SegmentationClass", "ImageSets"):
        with pytest.raises(InputError, match=f"{inner} holds no JPEGImages; did you mean {folder}"):
            catalog.folder(folder / inner)


def test_shapes_refuses_a_folder_with_something_else(voc_folder):
    folder = voc_folder()
    with pytest.raises(InputError, match=r"cannot write the data set shapes.*--dataset folder"):
        catalog.shapes(folder)


def test_vocs_palette_has_the_published_colours():
    # VOCdevkit's colormap, the first ones and the last.
    assert VOC2012.colors[:5] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert (VOC2012.colors[8], VOC2012.colors[15]) == ((64, 0, 0), (192, 128, 128))
    assert VOC2012.colors[20] == (0, 64, 128)
    assert (len(VOC2012), VOC2012.names[0], VOC2012.names[15]) == (21, "background", "person")
    # The colour of a void border in VOC's own labels.
    assert voc_color(255) == (224, 224, 192)


def test_cityscapes_has_its_19_training_classes():
    assert len(CITYSCAPES) == 19
    assert (CITYSCAPES.names[0], CITYSCAPES.colors[0]) == ("road", (128, 64, 128))
    assert (CITYSCAPES.names[13], CITYSCAPES.colors[13]) == ("car", (0, 0, 142))
    assert len(set(CITYSCAPES.colors)) == 19


@pytest.mark.parametrize(("name", "classes"), [("voc2012", VOC2012), ("cityscapes", CITYSCAPES)])
def test_published_data_set_needs_no_classes_file_but_minds_one(name, classes, tmp_path):
    assert getattr(catalog, name)(tmp_path).classes == classes
    (tmp_path / "classes.json").write_text(classes.to_json(), "utf-8")
    assert getattr(catalog, name)(tmp_path).classes == classes
    pets = Classes("pets", ("cat", "dog"), ((1, 2, 3), (4, 5, 6)))
    (tmp_path / "classes.json").write_text(pets.to_json(), "utf-8")
    with pytest.raises(InputError, match=f"does not have the {len(classes)} classes of {name}"):
        getattr(catalog, name)(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        getattr(catalog, name)(tmp_path / "none")


def test_background_is_found_by_name_or_refused():
    assert VOC2012.background == 0
    assert Classes("a", ("cat", "background"), ((0, 0, 0), (1, 1, 1))).background == 1
    with pytest.raises(InputError, match="cityscapes has no class 'background'"):
        _ = CITYSCAPES.background
