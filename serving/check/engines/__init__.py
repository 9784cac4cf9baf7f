"""One module for each engine.

Each has `missing() -> str`, what must be installed first ("" if nothing), and
`predict(saved_model, images, folder) -> list[Outputs]`: what serving_default gives for each image
as the only one of its batch, with a folder for what the engine needs in between.
"""

from typing import TypedDict

import numpy as np


class Outputs(TypedDict):
    """What serving_default gives for one image.

    Attributes:
      class_ids: int32 [H, W].
      probabilities: float32 [H, W, C].
      confidence: float32 [H, W].
    """

    class_ids: np.ndarray
    probabilities: np.ndarray
    confidence: np.ndarray


NAMES = tuple(Outputs.__annotations__)
