"""Where numbers fit into a map of classes."""

import numpy as np
import pytest

from tf_advseg.evaluation import regions


def image_of(*rows):
    return np.array([[int(c) for c in row] for row in rows])


def test_number_stands_in_the_middle_of_each_large_region():
    class_ids = image_of("1111100", "1111100", "1111122", "3333322")
    # Boxes of 2x3: in the ones the middle one of 2x3 corners; the rest is too narrow.
    assert regions.places(class_ids, 2, 3) == [(1, 0, 1)]


def test_two_regions_of_a_class_have_a_number_each():
    class_ids = image_of("11011", "11011", "00000", "00000")
    # The zeros hang together, but by a bridge that is narrower than the box.
    assert sorted(regions.places(class_ids, 2, 2)) == [(0, 2, 1), (1, 0, 0), (1, 0, 3)]


def test_bent_region_has_its_number_inside_of_it():
    class_ids = np.zeros((9, 9), int)
    class_ids[:, :2] = class_ids[7:, :] = class_ids[:, 7:] = 4
    found = [place for place in regions.places(class_ids, 2, 2) if place.class_id == 4]
    ((_, top, left),) = found
    assert (class_ids[top : top + 2, left : left + 2] == 4).all()


def test_boxes_do_not_overlap():
    # Boxes fit at two corners that do not touch: at the left, and one to the right and below.
    class_ids = image_of("1110", "1111", "1111", "0111")
    assert [place[1:] for place in regions.places(class_ids, 3, 3)] == [(0, 0)]
    assert len(regions.places(np.repeat(class_ids, 2, axis=1), 3, 3)) == 1
    both = np.concatenate([class_ids, class_ids], axis=1)
    assert [place[1:] for place in regions.places(both, 3, 3)] == [(0, 0), (0, 4)]


def test_picture_that_is_smaller_than_the_box_has_none():
    assert regions.places(np.zeros((3, 9), int), 4, 4) == []
    assert regions.places(np.zeros((9, 3), int), 4, 4) == []
    assert regions.places(np.zeros((4, 4), int), 4, 4) == [(0, 0, 0)]


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_all_of_one_class_and_none_is_missed(seed):
    rng = np.random.default_rng(seed)
    class_ids = np.kron(rng.integers(0, 3, (9, 11)), np.ones((4, 5), int))
    found = regions.places(class_ids, 6, 4)
    for class_id, top, left in found:
        assert (class_ids[top : top + 6, left : left + 4] == class_id).all()
    fitting = {
        int(class_ids[top, left])
        for top in range(36 - 5)
        for left in range(55 - 3)
        if len(np.unique(class_ids[top : top + 6, left : left + 4])) == 1
    }
    assert {place.class_id for place in found} == fitting


def flood(mask):
    """Numbers regions by walking through each of them."""
    numbers = np.zeros(mask.shape, int)
    for start in zip(*np.nonzero(mask)):
        if numbers[start]:
            continue
        walk = [start]
        numbers[start] = numbers.max() + 1
        while walk:
            row, column = walk.pop()
            for near in (
                (row + 1, column),
                (row - 1, column),
                (row, column + 1),
                (row, column - 1),
            ):
                inside = all(0 <= i < n for i, n in zip(near, mask.shape))
                if inside and mask[near] and not numbers[near]:
                    numbers[near] = numbers[start]
                    walk.append(near)
    return numbers


@pytest.mark.parametrize("seed", range(4))
def test_regions_are_those_that_a_walk_finds(seed):
    # At this density regions are large and winding.
    mask = np.random.default_rng(seed).uniform(size=(20, 30)) < 0.6
    labels, walked = regions.connected(mask), flood(mask)
    pairs = set(zip(labels[mask].tolist(), walked[mask].tolist()))
    assert len(pairs) == len(np.unique(labels[mask])) == walked.max() > 3
