"""Where a class is written on a map of classes, so that it is told without its colour."""

import numpy as np

from tf_advseg.data import VOID_LABEL
from tf_advseg.report.content import RegionNumber

_GRID = 96  # Cells along the longer side of the map: enough for what a number fits on.
_ROOM = 4  # Cells between a number's middle and the border of its region, at least.
_OUTSIDE = -1

Place = tuple[int, int]  # Row and column.


def region_numbers(class_ids: np.ndarray) -> tuple[RegionNumber, ...]:
    """Returns the class id of each region that is large enough, and where it is farthest inside.

    Args:
      class_ids: integers [H, W]; VOID_LABEL is no class.
    """
    cells = _coarse(class_ids)
    depths = _depths(cells)
    done = cells == VOID_LABEL
    numbers = []
    # Stable, so that of cells that are as deep the first one counts.
    for cell in np.argsort(-depths, axis=None, kind="stable"):
        row, column = divmod(int(cell), cells.shape[1])
        if depths[row, column] < _ROOM:
            break
        if not done[row, column]:
            region = _take_region(cells, done, row, column)
            deepest = [place for place in region if depths[place] == depths[row, column]]
            top, left = (np.array(_middle_one(deepest)) + 0.5) / cells.shape
            numbers.append(RegionNumber(int(cells[row, column]), float(left), float(top)))
    return tuple(numbers)


def _coarse(class_ids: np.ndarray) -> np.ndarray:
    """Returns int [h, w]: the class in the middle of each cell, of which a pixel may have many."""
    cell = max(class_ids.shape) / _GRID  # Its side, in pixels.
    rows, columns = (
        np.minimum((np.arange(max(1, round(size / cell))) + 0.5) * cell, size - 1).astype(int)
        for size in class_ids.shape
    )
    return class_ids[np.ix_(rows, columns)].astype(np.int64)


def _depths(cells: np.ndarray) -> np.ndarray:
    """Returns int [h, w]: steps from each cell to the nearest one outside of its region."""
    padded = np.pad(cells, 1, constant_values=_OUTSIDE)
    height, width = cells.shape
    around = [(0, 1), (2, 1), (1, 0), (1, 2)]

    def neighbor(values: np.ndarray, top: int, left: int) -> np.ndarray:
        return values[top : top + height, left : left + width]

    inside = np.ones(cells.shape, bool)
    for top, left in around:
        inside &= neighbor(padded, top, left) == cells
    depths = np.ones(cells.shape, np.int64)
    while inside.any():
        depths += inside
        framed = np.pad(inside, 1)
        inside = inside.copy()
        for top, left in around:
            inside &= neighbor(framed, top, left)
    return depths


def _take_region(cells: np.ndarray, done: np.ndarray, row: int, column: int) -> list[Place]:
    """Returns the cells that hang together with one and have its class, and marks them as done."""
    region = [(row, column)]
    done[row, column] = True
    for row, column in region:  # It grows meanwhile.
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if not (0 <= near[0] < cells.shape[0] and 0 <= near[1] < cells.shape[1]):
                continue
            if not done[near] and cells[near] == cells[row, column]:
                done[near] = True
                region.append(near)
    return region


def _middle_one(places: list[Place]) -> Place:
    """Returns the place that is nearest to the mean of all."""
    distances = np.square(np.array(places) - np.mean(places, axis=0)).sum(axis=1)
    return places[int(np.argmin(distances))]
