"""Labeled and unlabeled images, for any ids, fractions and seeds."""

import dataclasses
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tf_advseg.data import catalog, splits
from tf_advseg.data.classes import VOC2012
from tf_advseg.errors import InputError

ids = st.lists(
    st.text("abcxyzABC019_-.äßé水", min_size=1, max_size=20).filter(lambda id: id[0] != "."),
    min_size=1,
    max_size=40,
    unique=True,
)
fractions = st.floats(0, 1, exclude_min=True)
seeds = st.integers(0, 2**31 - 1)


@dataclasses.dataclass(frozen=True)
class Listed(catalog.Dataset):
    """A data set whose lists and labels are in no folder."""

    listed: list
    with_label: set

    def ids(self, split):
        return list(self.listed)

    def has_label(self, image_id):
        return image_id in self.with_label


@st.composite
def datasets(draw):
    """Lists in any order, some or all of which have a label."""
    listed = draw(ids)
    without = draw(st.sets(st.sampled_from(listed), max_size=len(listed) - 1))
    return Listed(Path("data"), VOC2012, listed, set(listed) - without)


def draw_split(dataset, fraction, seed):
    try:
        return splits.by_fraction(dataset, "train", fraction, seed)
    except InputError:
        assert int(fraction * len(dataset.with_label)) == 0
        return None


@given(datasets(), fractions, seeds)
def test_split_parts_all_images_and_labels_its_share(dataset, fraction, seed):
    split = draw_split(dataset, fraction, seed)
    assume(split)
    labeled, unlabeled = set(split.labeled), set(split.unlabeled)
    assert len(split.labeled) == len(labeled) == int(fraction * len(dataset.with_label))
    assert not labeled & unlabeled
    assert labeled | unlabeled == set(dataset.listed)
    assert labeled <= dataset.with_label
    assert list(split.labeled) == sorted(labeled) and list(split.unlabeled) == sorted(unlabeled)


@given(datasets(), fractions, seeds, st.randoms(use_true_random=False))
def test_split_is_the_seeds_whatever_the_order_of_the_list(dataset, fraction, seed, rng):
    shuffled = dataclasses.replace(dataset, listed=rng.sample(dataset.listed, len(dataset.listed)))
    assert draw_split(dataset, fraction, seed) == draw_split(shuffled, fraction, seed)


@given(datasets(), fractions, fractions, seeds)
def test_smaller_fraction_of_a_seed_is_in_the_larger(dataset, first, second, seed):
    smaller, larger = (draw_split(dataset, fraction, seed) for fraction in sorted((first, second)))
    if smaller:
        assert set(smaller.labeled) <= set(larger.labeled)


@given(datasets(), seeds)
def test_whole_fraction_labels_all_that_have_a_label(dataset, seed):
    assert set(draw_split(dataset, 1.0, seed).labeled) == dataset.with_label


@given(datasets(), st.data())
def test_listed_ids_are_labeled_and_others_refused(dataset, data):
    chosen = data.draw(st.lists(st.sampled_from(dataset.listed), min_size=1, unique=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labeled.txt"
        path.write_text("\n".join(chosen), "utf-8")
        if set(chosen) <= dataset.with_label:
            split = splits.by_list(dataset, "train", path)
            assert set(split.labeled) == set(chosen)
            assert set(split.unlabeled) == set(dataset.listed) - set(chosen)
        else:
            with pytest.raises(InputError, match="no label"):
                splits.by_list(dataset, "train", path)


@given(datasets(), fractions, seeds)
def test_split_survives_its_file(tmp_path, dataset, fraction, seed):
    split = draw_split(dataset, fraction, seed)
    assume(split)
    path = tmp_path / "split.json"
    path.write_text(split.to_json(), "utf-8")
    assert splits.stored(path) == split


@given(ids, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_list_gives_its_ids_however_it_was_written(tmp_path, listed, end, mark, last):
    path = tmp_path / "train.txt"
    text = end.join(f"  {one}\t" for one in listed) + (end if last else "")
    path.write_bytes(text.encode("utf-8-sig" if mark else "utf-8"))
    assert catalog.read_list(path) == listed
