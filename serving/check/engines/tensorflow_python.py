"""TensorFlow's own loader, which the other engines are compared with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.check.engines import NAMES, Outputs


def missing() -> str:
    return ""


def predict(saved_model: Path, images: Sequence[np.ndarray], folder: Path) -> list[Outputs]:
    import tensorflow as tf

    model = tf.saved_model.load(str(saved_model))
    serve = model.signatures["serving_default"]
    served = [serve(image=tf.constant(image[np.newaxis])) for image in images]
    return [Outputs(**{name: one[name].numpy()[0] for name in NAMES}) for one in served]
