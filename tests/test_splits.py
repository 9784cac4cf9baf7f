"""The labeled and the unlabeled part of the training images."""

import itertools
import json

import pytest

from tf_advseg.data import catalog, splits
from tf_advseg.data.splits import Split
from tf_advseg.errors import InputError

IDS = [f"id{n:02}" for n in range(45)]


@pytest.fixture
def dataset(tmp_path):
    """45 training images; splits only asks whether label files exist, so they are empty."""
    folder = tmp_path / "voc"
    for name in ("SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    # The list is in another order than the ids.
    (folder / "ImageSets/Segmentation/train.txt").write_text("\n".join(reversed(IDS)))
    for image_id in IDS:
        (folder / "SegmentationClass" / f"{image_id}.png").touch()
    classes = catalog.Classes("voc", ("a", "b"), ((0, 0, 0), (1, 1, 1)))
    return catalog.Dataset(folder, classes)


def draw(dataset, fraction, seed=0):
    return splits.by_fraction(dataset, "train", fraction, seed)


@pytest.mark.parametrize(
    ("fraction", "count"),
    [(1.0, 45), (0.5, 22), (0.125, 5), (0.1, 4), (1 / 45, 1), (0.999, 44)],
)
def test_fraction_labels_its_whole_part(fraction, count, dataset):
    split = draw(dataset, fraction)
    assert len(split.labeled) == int(fraction * 45) == count
    assert not set(split.labeled) & set(split.unlabeled)
    assert sorted(split.labeled + split.unlabeled) == IDS
    assert list(split.labeled) == sorted(split.labeled)
    assert list(split.unlabeled) == sorted(split.unlabeled)


def test_smaller_fraction_is_part_of_a_larger_one(dataset):
    labeled = [set(draw(dataset, f, seed=3).labeled) for f in (0.05, 0.125, 0.25, 0.5, 1.0)]
    for smaller, larger in itertools.pairwise(labeled):
        assert smaller < larger


def test_split_follows_from_the_seed_alone(dataset):
    assert draw(dataset, 0.25, seed=7) == draw(dataset, 0.25, seed=7)
    drawn = {draw(dataset, 0.25, seed=seed).labeled for seed in range(10)}
    assert len(drawn) == 10


def test_order_of_the_list_does_not_matter(dataset):
    before = draw(dataset, 0.25)
    (dataset.folder / "ImageSets/Segmentation/train.txt").write_text("\n".join(IDS))
    assert draw(dataset, 0.25) == before


def test_images_without_label_are_never_labeled(dataset):
    unlabeled = IDS[::3]
    for image_id in unlabeled:
        dataset.label_path(image_id).unlink()
    split = draw(dataset, 1.0)
    assert split.labeled == tuple(i for i in IDS if i not in unlabeled)
    assert split.unlabeled == tuple(unlabeled)
    # The fraction is of the 30 images that have a label.
    assert len(draw(dataset, 0.5).labeled) == 15


def test_fraction_that_labels_none_is_told_with_the_least_one(dataset):
    with pytest.raises(InputError) as caught:
        draw(dataset, 0.02)
    assert (
        str(caught.value) == "--labeled_fraction 0.02 of 45 images labels none; allowed: 1/45 to 1"
    )


def test_data_without_any_label_is_told(dataset):
    for image_id in IDS:
        dataset.label_path(image_id).unlink()
    with pytest.raises(InputError, match="no image of the list 'train' has a label"):
        draw(dataset, 1.0)


def test_list_is_taken_as_it_is(dataset, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("id07\nid03\n")
    split = splits.by_list(dataset, "train", path)
    assert split.labeled == ("id03", "id07")
    assert split.unlabeled == tuple(i for i in IDS if i not in ("id03", "id07"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id03\nid99\n", "has 'id99', which the list 'train' has not"),
        ("id03\nid03\n", "names 'id03' twice"),
        ("", "is empty"),
        ("id00\n", r"no label .*id00\.png for the listed id 'id00'"),
    ],
)
def test_wrong_list_is_told(content, words, dataset, tmp_path):
    dataset.label_path("id00").unlink()
    path = tmp_path / "mine.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        splits.by_list(dataset, "train", path)


def test_missing_list_is_told(dataset, tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.txt"):
        splits.by_list(dataset, "train", tmp_path / "nowhere.txt")


def test_split_survives_its_file(tmp_path):
    split = Split(("a", "ü b"), ("c",))
    path = tmp_path / "split.json"
    path.write_text(split.to_json(), "utf-8")
    assert splits.stored(path) == split
    assert json.loads(path.read_text("utf-8")) == {"labeled": ["a", "ü b"], "unlabeled": ["c"]}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"labeled": ["a"]}',
        '{"labeled": 5, "unlabeled": []}',
        '{"labeled": "abc", "unlabeled": []}',
        '{"labeled": ["a"], "unlabeled": [5]}',
    ],
)
def test_damaged_split_is_told(content, tmp_path):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"cannot read .*split\.json"):
        splits.stored(path)
