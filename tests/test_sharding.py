"""Batches in shares: each worker reads its own part, and together they read the batch."""

import numpy as np
import pytest

from tests.folders import numbered_pairs
from tf_advseg.data.coin import is_labeled_step
from tf_advseg.data.pipeline import Views, training_dataset
from tf_advseg.data.positions import Share, positions

VIEWS = Views(crop_size=(7, 9), random_scale=(0.8, 1.2))
STEPS, BATCH = 5, 12


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Thirty images that hold their own number."""
    return numbered_pairs(tmp_path_factory.mktemp("numbered"), 30)


def read(pairs, **options):
    options = {"batch_size": BATCH, "steps": STEPS, "seed": 4, **options}
    unlabeled = [image for image, _ in pairs[20:]]
    data = training_dataset(pairs[:20], unlabeled, VIEWS, **options)
    return list(data.as_numpy_iterator())


@pytest.mark.parametrize(
    ("of", "pieces", "one_kind", "first_step"),
    [
        (1, 2, False, 0),
        pytest.param(2, 1, False, 3, marks=pytest.mark.slow),
        (2, 3, False, 3),
        (2, 3, True, 2),
    ],
)
def test_shares_together_are_the_batch_in_order(pairs, of, pieces, one_kind, first_step):
    options = {"one_kind": one_kind, "first_step": first_step}
    whole = read(pairs, **options)
    shares = [read(pairs, share=Share(i, of, pieces), **options) for i in range(of)]
    assert {len(share) for share in shares} == {(STEPS - first_step) * pieces}
    for step, batch in enumerate(whole):
        own = slice(step * pieces, (step + 1) * pieces)
        cut = [piece for share in shares for piece in share[own]]
        for kind, parts in batch.items():
            for index, part in enumerate(parts):
                joined = np.concatenate([piece[kind][index] for piece in cut])
                np.testing.assert_array_equal(joined, part)


def test_a_worker_reads_its_own_places_alone():
    found = positions(12, 1, 3, Share(1, of=2, pieces=3)).as_numpy_iterator()
    assert list(found) == [*range(18, 24), *range(30, 36)]


def test_positions_without_an_end_go_on():
    found = positions(4, 2, None).take(3).as_numpy_iterator()
    assert list(found) == [8, 9, 10]


def test_batch_that_cannot_be_cut_is_refused(pairs):
    with pytest.raises(ValueError, match="a batch of 12 cannot be cut into 10 equal pieces"):
        read(pairs, share=Share(0, of=5, pieces=2))


def test_one_kind_has_the_images_that_the_step_would_have(pairs, first_step=2):
    both = read(pairs, first_step=first_step)
    one = read(pairs, first_step=first_step, one_kind=True)
    assert len(one) == len(both)
    labeled = [bool(is_labeled_step(4, step)) for step in range(first_step, STEPS)]
    assert len(set(labeled)) == 2
    for is_labeled, batch, whole in zip(labeled, one, both, strict=True):
        used, other = ("labeled", "unlabeled") if is_labeled else ("unlabeled", "labeled")
        for own, expected in zip(batch[used], whole[used], strict=True):
            np.testing.assert_array_equal(own, expected)
        image, counts = batch[other]
        # Blank: void everywhere, or valid nowhere.
        assert not image.any() and (counts == (0 if is_labeled else 255)).all()
