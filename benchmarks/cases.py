"""What a step of the benchmark works on: the same weights and images for every contender.

NumPy only. A case is plain data, as a worker is given it: {"backbone", "method", "precision",
"batch_norm", "num_classes", "size": [height, width], "batch"}.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import reference_case

Case = Mapping[str, Any]

SEED = 0
#: Below any confidence of the filled weights: L_semi has every valid pixel, and no rounding moves
#: one over the threshold.
T_SEMI = 0.2
#: The published rates (section 4.1).
LEARNING_RATE, DISCRIMINATOR_LEARNING_RATE = 2.5e-4, 1e-4
WEIGHT_DECAY = 5e-4
_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def is_resnet(case: Case) -> bool:
    """Whether the backbone is one of the reference's ResNets."""
    return case["backbone"] in _BLOCKS


def blocks(case: Case) -> tuple[int, int, int, int]:
    """Returns the blocks in each stage of a ResNet."""
    return _BLOCKS[case["backbone"]]


def normalization(case: Case) -> str:
    """Returns the name of the colour scale that both sides have."""
    return "deeplab" if is_resnet(case) else "imagenet"


def weights(case: Case, network: str, shapes: Mapping[str, tuple[int, ...]]) -> dict:
    """Returns the initial weights of "segmenter" or "discriminator".

    Args:
      case: of which the batch norm decides, so that no map vanishes or overflows.
      network: which.
      shapes: {PyTorch's name: PyTorch's shape} of all of its tensors.

    Returns:
      {name: float32 array}.
    """
    frozen = case["batch_norm"] == "frozen"
    fill = reference_case.FROZEN if frozen else reference_case.BATCH_STATISTICS
    seed = SEED + (network == "discriminator")
    return reference_case.fill(shapes, seed, fill["std"][network], **fill["norm"])


def batch(case: Case) -> dict[str, np.ndarray]:
    """Returns a step's images and labels, as `reference_case.batch` has them."""
    return reference_case.batch(SEED, 0, case["size"], case["num_classes"], case["batch"])


def image(size: tuple[int, int], num_images: int = 1) -> np.ndarray:
    """Returns images to segment, uint8 [B, H, W, 3]."""
    shape = (num_images, *size)
    return reference_case.make_images("served", shape, SEED).astype(np.uint8)
