"""Whether two engines say the same of an image."""

import dataclasses

import numpy as np

from serving.check.engines import Outputs

#: Of probabilities and of the confidence: engines add in their own order.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Difference:
    """How an engine's outputs for an image differ from the reference's.

    Attributes:
      probabilities: the largest difference; NaN if a value is none.
      confidence: the same.
      classes: pixels of another class, whose two largest probabilities differ by more than
        TOLERANCE in the reference.
      close: pixels left out of that, as rounding decides there.
    """

    probabilities: float
    confidence: float
    classes: int
    close: int

    @property
    def is_small(self) -> bool:
        # Written so that NaN is not small.
        return (
            self.classes == 0 and self.probabilities <= TOLERANCE and self.confidence <= TOLERANCE
        )


def difference(found: Outputs, reference: Outputs) -> Difference:
    """Compares the outputs for one image.

    Raises:
      ValueError: the shapes or the types differ.
    """
    for name, expected in reference.items():
        if (found[name].shape, found[name].dtype) != (expected.shape, expected.dtype):
            raise ValueError(
                f"{name} is {found[name].dtype} {list(found[name].shape)}, "
                f"expected {expected.dtype} {list(expected.shape)}"
            )
    second, largest = np.moveaxis(np.sort(reference["probabilities"], axis=-1)[..., -2:], -1, 0)
    close = largest - second <= TOLERANCE
    other = found["class_ids"] != reference["class_ids"]
    return Difference(
        _largest(found["probabilities"], reference["probabilities"]),
        _largest(found["confidence"], reference["confidence"]),
        int(np.count_nonzero(other & ~close)),
        int(np.count_nonzero(close)),
    )


def _largest(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float64) - expected).max())
