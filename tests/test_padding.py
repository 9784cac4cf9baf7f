"""How much of the crops is padding."""

import numpy as np
import pytest
from PIL import Image

from tf_advseg.data.padding import padded_share, padding_problem


@pytest.mark.parametrize(
    "sizes, scales, share",
    [
        ([(100, 200)], [1], 0),  # Just filled.
        ([(50, 200)], [1], 0.5),  # The lower half is empty.
        ([(50, 100)], [1], 0.75),
        ([(50, 100)], [1, 2], 0.375),
        ([(1000, 100)], [1], 0.5),  # What is too high does not make up for what is too narrow.
        ([(50, 100), (100, 200)], [1], 0.375),
    ],
)
def test_share_is_what_the_images_leave_empty(sizes, scales, share):
    assert padded_share(sizes, (100, 200), scales) == pytest.approx(share)


@pytest.fixture
def labels(tmp_path):
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((60, 80), np.uint8)).save(tmp_path / f"{name}.png")
    return sorted(tmp_path.iterdir())


def test_crop_that_is_much_too_large_is_told(labels):
    # 1 - 30 * 40 / 10,000
    said = padding_problem(labels, (100, 100), 0.5, (1, 1))
    assert said.startswith("88 % of an average crop of 100x100 pixels is padding: ")
    assert "the images have 40x30;" in said


def test_fitting_crop_is_not(labels):
    assert padding_problem(labels, (60, 80), 1, (1, 1)) == ""
    assert padding_problem(labels, (60, 80), 0.5, (2, 2)) == ""


def test_only_some_of_many_images_are_looked_at(labels, monkeypatch):
    looked_at = []
    monkeypatch.setattr(
        "tf_advseg.data.padding._size", lambda label: looked_at.append(label) or (10, 10)
    )
    padding_problem(labels * 1000, (20, 20), 1, (1, 1))
    assert 200 <= len(looked_at) < 400
