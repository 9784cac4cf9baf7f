"""saved_model_cli, the command that comes with TensorFlow, in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.check.engines import NAMES, Outputs


def missing() -> str:
    return ""


def predict(saved_model: Path, images: Sequence[np.ndarray], folder: Path) -> list[Outputs]:
    found = []
    for number, image in enumerate(images):
        own = folder / str(number)
        own.mkdir()
        np.save(own / "image.npy", image[np.newaxis])
        subprocess.run(
            [
                *(sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run"),
                *("--dir", saved_model, "--tag_set", "serve", "--signature_def", "serving_default"),
                *("--inputs", f"image={own / 'image.npy'}", "--outdir", own),
            ],
            check=True,
            capture_output=True,
        )
        found.append(Outputs(**{name: np.load(own / f"{name}.npy")[0] for name in NAMES}))
    return found
