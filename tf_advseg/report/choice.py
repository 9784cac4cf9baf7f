"""Which images of a split are shown."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Choice(NamedTuple):
    """Positions of images in a split, no image twice.

    Attributes:
      best: the best first.
      median: those in the middle, the better first.
      worst: the worst first.
    """

    best: tuple[int, ...]
    median: tuple[int, ...]
    worst: tuple[int, ...]


def choose(scores: Sequence[float], each: int = 2) -> Choice:
    """Returns the images with the best, the median and the worst scores.

    Of too few images, the best get the first, the worst the next, the median the third, and so on.

    Args:
      scores: of the images. NaN is no score, and such an image is not chosen. Among equal scores
        the order is that of the images.
      each: how many of each kind at most.
    """
    scored = [position for position, score in enumerate(scores) if not math.isnan(score)]
    ranked = sorted(scored, key=lambda position: -scores[position])
    best, worst, median = (min(each, max(0, (len(ranked) - turn + 2) // 3)) for turn in range(3))
    left = ranked[best : len(ranked) - worst]
    middle = (len(left) - median) // 2
    return Choice(
        tuple(ranked[:best]),
        tuple(left[middle : middle + median]),
        tuple(ranked[len(ranked) - worst :][::-1]),
    )
