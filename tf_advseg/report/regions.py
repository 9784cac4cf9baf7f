"""Where a class is written on a map of classes, so that it is told without its colour."""

import numpy as np

from tf_advseg.data import VOID_LABEL
from tf_advseg.evaluation import regions
from tf_advseg.report.content import RegionNumber

_GRID = 96  # Cells along the longer side of the map, whatever its pixels.
_BOX = 7  # Cells along the sides of what a number needs.


def region_numbers(class_ids: np.ndarray) -> tuple[RegionNumber, ...]:
    """Returns the class id of each region that is large enough, and where it is written.

    Args:
      class_ids: integers [H, W]; VOID_LABEL is no class.
    """
    cells = _coarse(class_ids)
    height, width = cells.shape
    return tuple(
        RegionNumber(
            place.class_id, (place.left + _BOX / 2) / width, (place.top + _BOX / 2) / height
        )
        for place in regions.places(cells, _BOX, _BOX)
        if place.class_id != VOID_LABEL
    )


def _coarse(class_ids: np.ndarray) -> np.ndarray:
    """Returns int [h, w]: the class in the middle of each cell, of which a pixel may have many."""
    cell = max(class_ids.shape) / _GRID  # Its side, in pixels.
    rows, columns = (
        np.minimum((np.arange(max(1, round(size / cell))) + 0.5) * cell, size - 1).astype(int)
        for size in class_ids.shape
    )
    return class_ids[np.ix_(rows, columns)].astype(np.int64)
