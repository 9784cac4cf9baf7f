"""OpenVINO, which reads the folder of a SavedModel itself."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.check.engines import NAMES, Outputs


def missing() -> str:
    return "" if importlib.util.find_spec("openvino") else "openvino"


def predict(saved_model: Path, images: Sequence[np.ndarray], folder: Path) -> list[Outputs]:
    import openvino

    model = openvino.Core().read_model(saved_model)
    # Else it computes in bfloat16 where the processor can.
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = []
    for image in images:
        result = compiled(image[np.newaxis])
        found.append(Outputs(**{name: np.array(result[name][0]) for name in NAMES}))
    return found
