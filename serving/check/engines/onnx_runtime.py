"""ONNX Runtime, on what tf2onnx makes of the SavedModel."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.check.engines import NAMES, Outputs

#: The newest that tf2onnx writes and ONNX Runtime reads alike.
_OPSET = "18"


def missing() -> str:
    return " ".join(
        name for name in ("tf2onnx", "onnxruntime") if not importlib.util.find_spec(name)
    )


def predict(saved_model: Path, images: Sequence[np.ndarray], folder: Path) -> list[Outputs]:
    import onnxruntime

    path = folder / "model.onnx"
    subprocess.run(
        [
            *(sys.executable, "-m", "tf2onnx.convert", "--saved-model", saved_model),
            *("--tag", "serve", "--signature_def", "serving_default"),
            *("--opset", _OPSET, "--output", path),
        ],
        check=True,
        capture_output=True,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = []
    for image in images:
        result = session.run(list(NAMES), {"image": image[np.newaxis]})
        found.append(Outputs(**{n: r[0] for n, r in zip(NAMES, result, strict=True)}))
    return found
