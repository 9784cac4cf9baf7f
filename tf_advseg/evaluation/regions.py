"""Where a class's number fits into a map of classes. NumPy only."""

from typing import NamedTuple

import numpy as np


class Place(NamedTuple):
    """A box of one class: which, and its upper left corner in pixels."""

    class_id: int
    top: int
    left: int


def places(class_ids: np.ndarray, height: int, width: int) -> list[Place]:
    """Returns a box for each region that is large enough to hold one, in its middle.

    A region that is only joined by a bridge narrower than the box gets one on each side. No two
    boxes overlap.

    Args:
      class_ids: integers [H, W].
      height: of the box, in pixels, at least 2.
      width: of the box, in pixels, at least 2.
    """
    if height > class_ids.shape[0] or width > class_ids.shape[1]:
        return []
    fits = _uniform_boxes(class_ids, height, width)
    labels = connected(fits)
    found: list[Place] = []
    numbers, sizes = np.unique(labels[fits], return_counts=True)
    for label in numbers[np.argsort(-sizes, kind="stable")]:
        corners = np.argwhere(labels == label)
        # The corner nearest to the mean: the mean itself may be outside of a bent region.
        nearest = np.square(corners - corners.mean(axis=0)).sum(axis=1).argmin()
        top, left = corners[nearest].tolist()
        if not any(abs(top - p.top) < height and abs(left - p.left) < width for p in found):
            found.append(Place(int(class_ids[top, left]), top, left))
    return found


def _uniform_boxes(class_ids: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns where a box's upper left corner may be so that all of it is one class.

    Returns:
      bool [H - height + 1, W - width + 1].
    """
    # A box is of one class if no two neighbours in it differ.
    rows = _box_sums(class_ids[1:] != class_ids[:-1], height - 1, width)
    columns = _box_sums(class_ids[:, 1:] != class_ids[:, :-1], height, width - 1)
    return (rows == 0) & (columns == 0)


def _box_sums(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns how many pixels are set in the box at each corner, by an integral image."""
    total = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    total[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    ends = total[height:, width:], total[: -height or None, : -width or None]
    sides = total[height:, : -width or None], total[: -height or None, width:]
    return ends[0] + ends[1] - sides[0] - sides[1]


def connected(mask: np.ndarray) -> np.ndarray:
    """Numbers the regions of a mask that hang together by sides.

    Args:
      mask: bool [H, W].

    Returns:
      int64 [H, W]: the same number in all of a region, and another one in each. What is not set has
      numbers of its own.
    """
    labels = np.arange(mask.size).reshape(mask.shape)
    while True:
        before = labels
        # The lowest number spreads along the rows, and then along the columns, until none moves.
        labels = _lowest_in_runs(labels, mask)
        labels = _lowest_in_runs(labels.T, mask.T).T
        if np.array_equal(labels, before):
            return labels


def _lowest_in_runs(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Gives all pixels of a run, which is of equal neighbours in a row, its lowest label."""
    begins = np.ones(mask.shape, bool)
    begins[:, 1:] = mask[:, 1:] != mask[:, :-1]
    starts = np.flatnonzero(begins)
    lowest = np.minimum.reduceat(labels.ravel(), starts)
    lengths = np.diff(starts, append=mask.size)
    return np.repeat(lowest, lengths).reshape(mask.shape)
