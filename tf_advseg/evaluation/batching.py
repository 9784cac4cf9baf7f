"""Batches of images of one size, out of images of many sizes.

A network takes a batch of one size only, and images are judged at their own. So images wait until
enough of their size have come; `InOrder` brings what is made of them back into their order.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

_PATIENCE = 64  # Images that come while one waits. It bounds what is held in memory.
_GPU_IMAGES = 8
_GPU_PIXELS = 2**21  # One image of Cityscapes, which takes 1.4 to 1.7 GiB in ResNet-101, float32.


@dataclasses.dataclass(frozen=True)
class BatchLimit:
    """How much goes into one batch. An image that is larger than the limit goes alone.

    Attributes:
      images: at most, at least 1.
      pixels: of all images together at most; None for no limit.
    """

    images: int = 1
    pixels: int | None = None

    def images_of(self, height: int, width: int) -> int:
        """Returns how many images of this size go into a batch."""
        if self.pixels is None:
            return self.images
        return max(1, min(self.images, self.pixels // (height * width)))


def default_limit() -> BatchLimit:
    """Returns the limit for what TensorFlow runs on.

    One image keeps all cores of a CPU busy: more only take more memory. A GPU is faster with more.
    """
    if tf.config.list_physical_devices("GPU"):
        return BatchLimit(_GPU_IMAGES, _GPU_PIXELS)
    return BatchLimit()


@dataclasses.dataclass(frozen=True)
class SizeBatch:
    """Items whose images have one size.

    Attributes:
      positions: of the items in the sequence that they come from, from 0 on.
      items: each a tuple of an image [H, W, 3] and what belongs to it, such as a label [H, W].
    """

    positions: tuple[int, ...]
    items: tuple[tuple[tf.Tensor, ...], ...]

    def stacked(self, part: int) -> tf.Tensor:
        """Returns one part of every item as a batch: part 0 is the images, [B, H, W, 3]."""
        # On the CPU, where they were read: a GPU then gets one copy and not one for each.
        with tf.device("CPU:0"):
            return tf.stack([item[part] for item in self.items])


def batches_by_size(
    items: Iterable[tuple[tf.Tensor, ...]], limit: BatchLimit
) -> Iterator[SizeBatch]:
    """Yields each item once, in batches of one size.

    A batch goes when it is full, or when many items have come since its first: so at most
    _PATIENCE items wait, and the positions of those that have gone reach no further ahead.

    Args:
      items: tuples of an image [H, W, 3] and what belongs to it, of eager tensors.
      limit: of a batch.
    """
    # By insertion, so that the group that has waited longest is the first.
    waiting: dict[tuple[int, int], list[tuple[int, tuple]]] = {}

    def take(size: tuple[int, int]) -> SizeBatch:
        return SizeBatch(*zip(*waiting.pop(size)))

    for position, item in enumerate(items):
        size = tuple(item[0].shape[:2])
        waiting.setdefault(size, []).append((position, item))
        if len(waiting[size]) >= limit.images_of(*size):
            yield take(size)
        oldest = next(iter(waiting), None)
        if oldest is not None and position - waiting[oldest][0][0] >= _PATIENCE:
            yield take(oldest)
    while waiting:
        yield take(next(iter(waiting)))


class InOrder:
    """Hands results on in the order of their positions, each as soon as all before it have come.

    Args:
      use: is called with each result.
    """

    def __init__(self, use: Callable[..., None]):
        self._use = use
        self._waiting: dict[int, tuple[Any, ...]] = {}
        self._next = 0

    def add(self, position: int, *result: Any) -> None:
        """Takes the result for a position, of which each from 0 on comes once."""
        self._waiting[position] = result
        while self._next in self._waiting:
            self._use(*self._waiting.pop(self._next))
            self._next += 1
