"""`prepare check` finds each problem and nothing else, and agrees with training's own checks."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import damages, oddities
from tests.folders import grey_png, make_voc_folder
from tf_advseg.data import files, splits
from tf_advseg.data.checks.examination import examine
from tf_advseg.data.checks.reading import survey
from tf_advseg.errors import InputError

#: Damage -> the kinds of problems that it makes.
PROBLEMS = {
    damages.lose_image: ["missing image"],
    damages.lose_validation_label: ["missing label"],
    damages.label_no_class: ["unknown label value"],
    damages.label_another_size: ["label of another size"],
    damages.label_in_colours: ["label in colours"],
    damages.cut_training_images: ["damaged image"] * 4,
    damages.cut_validation_image: ["damaged image"],
    damages.cut_label: ["damaged image"],
    damages.foreign_format: ["file of another format"],
    damages.empty_list: ["wrong list"],
    damages.lose_list: ["wrong list"],
    damages.repeat_id: ["wrong list"],
    damages.leave_folder: ["wrong list"],
    damages.lose_classes: ["wrong classes"],
    damages.break_classes: ["wrong classes"],
    damages.colourless_class: ["wrong classes"],
    damages.empty_image: ["no image"],
    damages.text_as_image: ["no image"],
    damages.text_as_label: ["no image"],
    damages.jpeg_as_label: ["file of another format"],
    damages.bomb_as_image: ["too many pixels"],
    damages.bomb_as_label: ["too many pixels"],
    damages.folder_as_image: ["no regular file"],
    damages.pipe_as_image: ["no regular file"],
    damages.device_as_image: ["no regular file"],
    damages.broken_link_as_image: ["no regular file"],
    damages.pipe_as_list: ["wrong list"],
    damages.pipe_as_classes: ["wrong classes"],
    damages.large_classes: ["wrong classes"],
    damages.deep_classes: ["wrong classes"],
    damages.share_id: ["image for training and validation"],
    damages.absolute_id: ["wrong list"],
    damages.id_with_suffix: ["missing image", "missing label"],
    damages.lose_training_labels: ["no labels"],
    damages.name_classes_alike: ["wrong classes"],
    oddities.decomposed_image: ["missing image"],
    oddities.decomposed_validation_label: ["missing label"],
}
#: The same, of what training does not find before it begins.
FOUND_LATER = {
    damages.damage_inside: ["damaged image"],
    damages.wrong_checksum: ["damaged image"],
    damages.share_content: ["image for training and validation"],
    damages.folder_as_label: ["no regular file"],
    damages.pipe_as_label: ["no regular file"],
}
WARNINGS = {
    oddities.decomposed_training_label: ["label of another name"],
    oddities.label_of_another_case: ["label of another name"],
    oddities.color_classes_alike: ["classes of one color"],
    oddities.unseen_class: ["class that never occurs"],
    oddities.void_label: ["label that is all void"],
    oddities.second_image: ["second image of an id"],
    oddities.link_out: ["link out of the folder"],
    oddities.link_folder_out: ["link out of the folder"],
    oddities.ids_alike: ["ids alike"],
}


@pytest.fixture
def data(tmp_path):
    return make_voc_folder(tmp_path / "voc", train=4, val=2)


@pytest.fixture(autouse=True)
def no_waiting():
    """Ends a test that waits for a pipe."""

    def end(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def check(data, name="folder", **options):
    options = {"train_split": "train", "val_split": "val", **options}
    return examine(survey(name, data, **options))


def training_refuses(data):
    """Returns what training says before it begins with all images; None if it begins."""
    try:
        dataset = files.open_dataset("folder", data)
        split = splits.by_fraction(dataset, "train", 1.0, seed=0)
        files.training_files(dataset, split, "val", uses_unlabeled=True)
    except InputError as error:
        return str(error)
    return None


def by_name(damage):
    return getattr(damage, "__name__", None)


@pytest.mark.parametrize(("damage", "kinds"), {**PROBLEMS, **FOUND_LATER}.items(), ids=by_name)
def test_each_problem_is_found_by_name_and_nothing_else(data, damage, kinds):
    words = damage(data)
    found = check(data)
    assert [(p.kind, p.is_warning) for p in found] == [(kind, False) for kind in kinds]
    for word in (words,) if isinstance(words, str) else words:
        assert all(word in problem.text for problem in found[:1]), found
    refusal = training_refuses(data)
    assert (refusal is None) == (damage in FOUND_LATER)
    if refusal:
        assert refusal in [problem.text for problem in found]


@pytest.mark.parametrize(("damage", "kinds"), WARNINGS.items(), ids=by_name)
def test_what_works_is_a_warning(data, damage, kinds):
    words = damage(data)
    found = check(data)
    assert [(p.kind, p.is_warning) for p in found] == [(kind, True) for kind in kinds]
    for word in (words,) if isinstance(words, str) else words:
        assert word in found[0].text
    assert training_refuses(data) is None


@pytest.mark.parametrize("seed", range(12))
def test_training_accepts_what_check_finds_clean_and_check_lists_what_training_refuses(data, seed):
    """Of several damages at once, of which one may undo another."""
    every = [*PROBLEMS, *WARNINGS, damages.folder_as_label]
    rng = np.random.default_rng(seed)
    for index in rng.choice(len(every), size=seed % 4, replace=False):
        try:
            every[index](data)
        except (OSError, ValueError, KeyError, IndexError):
            continue  # An earlier damage has left nothing to damage so.
    problems = [problem.text for problem in check(data) if not problem.is_warning]
    refusal = training_refuses(data)
    assert refusal is None or refusal in problems


def test_ten_problems_are_all_found(data):
    make_voc_folder(data, train=9, val=3)
    ten = [
        *(damages.cut_label, damages.text_as_image, damages.label_another_size),
        *(damages.bomb_as_label, damages.pipe_as_image, damages.name_classes_alike),
        *(damages.damage_inside, damages.absolute_id, damages.jpeg_as_label),
    ]
    for damage in ten:
        damage(data)
    lists = data / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("val_0\nval_1\n/etc/passwd\nval_2\nval_2\n")
    damages.label_path(data, "val_2").unlink()
    assert sorted(problem.kind for problem in check(data)) == sorted(
        [
            *("damaged image", "no image", "label of another size", "too many pixels"),
            *("no regular file", "wrong classes", "damaged image", "wrong list"),
            *("file of another format", "wrong list", "missing label"),
        ]
    )


@pytest.mark.parametrize(
    "content",
    [
        "\ufefftrain_0\ntrain_1\n",
        "train_0\r\ntrain_1\r\n",
        "\n\ntrain_0\n \n\ntrain_1",
        "train_0  \n\ttrain_1\t\n",
    ],
    ids=["mark", "Windows", "blank lines", "spaces"],
)
def test_lists_of_other_editors_are_clean(data, content):
    damages.write_list(data, "train", content)
    assert check(data) == []
    assert training_refuses(data) is None


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_labels_of_any_bits_are_clean(data, bits):
    label = np.zeros((48, 64), np.uint8)
    label[3:9, 5:20] = 1
    damages.label_path(data, "val_0").write_bytes(grey_png(label, bits))
    assert check(data) == []
    seen = survey("folder", data, "train", "val").labels["val_0"]
    assert seen.counts == {0: 48 * 64 - 90, 1: 90}


def test_rotated_image_is_compared_as_shown(data):
    path = damages.image_path(data, "val_0")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).rotate(90, expand=True).save(path, exif=exif)
    assert Image.open(path).size == (48, 64)
    assert check(data) == []


def test_unlabeled_images_are_no_problem(data):
    damages.label_path(data, "train_2").unlink()
    damages.write_list(data, "test", "train_2\n")
    assert check(data) == []


def test_all_lists_are_read_unless_some_are_named(data):
    damages.write_list(data, "test", "nowhere\n")
    assert [p.kind for p in check(data)] == ["missing image"]
    assert check(data, splits=("train", "val")) == []
    damages.lose_validation_label(data)
    assert check(data, splits=("train",)) == []
    assert [p.kind for p in check(data, splits=("test",))] == ["missing image"]


def test_all_problems_of_a_file_are_listed(data):
    label = np.zeros((48, 64), np.uint8)
    label[0, :5], label[1, :2] = 77, 200
    Image.fromarray(label[:, :40]).save(path := damages.label_path(data, "val_0"))
    assert [p.text for p in check(data)] == [
        f"{path} is 40x48, but its image {damages.image_path(data, 'val_0')} is 64x48",
        f"{path} has the value 77 in 5 pixels, 200 in 2 pixels; allowed: 0 to 2, and 255 for void",
    ]


def test_all_problems_of_the_classes_are_listed(data):
    def change(classes):
        classes[0]["color"] = [1, 2]
        classes[1]["name"] = 5
        classes[2]["name"] = "\ud800"

    damages.change_classes(data, change)
    path = data / "classes.json"
    assert [p.text for p in check(data)] == [
        f'{path}: class 0 has "color" [1, 2]; allowed: [R, G, B] in 0-255',
        f'{path}: class 1 has no "name"',
        f"{path}: class 2 has the \"name\" '\\ud800'; "
        "allowed: names that can be printed on one line",
    ]


def test_published_data_set_needs_its_own_classes(data):
    (problem,) = check(data, name="voc2012")
    assert (problem.kind, problem.path) == ("wrong classes", data / "classes.json")
    assert "does not have the 21 classes of voc2012" in problem.text
    (data / "classes.json").unlink()
    kinds = {p.kind for p in check(data, name="voc2012")}
    assert kinds == {"class that never occurs"}


def test_generated_data_set_is_not_written(data):
    (problem,) = check(data, name="shapes")
    assert problem.kind == "wrong classes"
    assert "cannot write" in problem.text
    with pytest.raises(InputError, match="is no folder"):
        check(data.parent / "none", name="shapes")
    assert not (data.parent / "none").exists()


def test_nothing_is_written(data, cache_folder):
    before = {p: (p.stat().st_mtime_ns, p.is_dir() or p.read_bytes()) for p in data.rglob("*")}
    check(data)
    after = {p: (p.stat().st_mtime_ns, p.is_dir() or p.read_bytes()) for p in data.rglob("*")}
    assert after == before
    assert not cache_folder.exists()


@pytest.fixture
def nobody():
    """A data set that the user may read but for what is locked; `root` may read everything."""
    folder = Path(tempfile.mkdtemp(prefix="advseg-check-"))
    folder.chmod(0o755)
    data = make_voc_folder(folder / "voc", train=4, val=2)
    is_root = os.geteuid() == 0

    def lock(path):
        path.chmod(0)
        if is_root:
            os.seteuid(65534)
        return path

    yield data, lock
    if is_root:
        os.seteuid(0)
    for path in (data, *data.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["JPEGImages/val_0.jpg", "SegmentationClass/train_1.png"])
def test_unreadable_file_is_named(nobody, name):
    data, lock = nobody
    path = lock(data / name)
    assert [(p.kind, p.text) for p in check(data)] == [
        ("unreadable file", f"cannot read {path}: Permission denied")
    ]


def test_folder_that_must_not_be_entered_is_named(nobody):
    data, lock = nobody
    locked = lock(data / "SegmentationClass")
    found = [p.text for p in check(data)]
    labels = [locked / f"{i}.png" for i in ("train_0", "train_1", "train_2", "train_3")]
    labels += [locked / f"val_{n}.png" for n in range(2)]
    assert found == [f"cannot reach {label}: Permission denied" for label in labels]
    assert "cannot reach" in training_refuses(data)


def test_class_shares_and_counts_are_those_of_the_labels(data):
    seen = survey("folder", data, "train", "val")
    labels = [np.asarray(Image.open(label.path)) for label in seen.labels.values()]
    assert len(labels) == 6
    expected = [sum(int((label == n).sum()) for label in labels) for n in range(3)]
    assert seen.class_counts() == expected
