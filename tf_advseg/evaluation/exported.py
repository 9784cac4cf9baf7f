"""An exported SavedModel in the place of a predictor."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_advseg.data.classes import Classes
from tf_advseg.errors import InputError, first_line
from tf_advseg.evaluation.inference import Prediction


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """A loaded export: call it like a `Predictor`.

    Attributes:
      classes: that it was trained with.
      config: of the run that it comes from.
      selects: whether its confidence is a discriminator's.
    """

    _model: Any  # Kept, because the signature alone does not keep the variables alive.
    _serve: Any
    classes: Classes
    config: dict[str, Any]
    selects: bool

    def __call__(self, images: tf.Tensor) -> Prediction:
        """Predicts images in 0-255, [B, H, W, 3], by the signature serving_default.

        It takes whole numbers, so that the colour of a padding may be off by half of one.
        """
        if images.dtype != tf.uint8:
            images = tf.cast(tf.round(images), tf.uint8)
        served = self._serve(image=images)
        return Prediction(**{name: served[name] for name in Prediction._fields})


def load_exported(folder: Path) -> ExportedModel:
    """Loads an export: a version's folder, or the folder of the versions for the newest.

    Raises:
      InputError: there is no SavedModel, or one that is not of this project.
    """
    versions = [path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
    if versions:
        folder = max(versions, key=lambda path: int(path.name))
    try:
        model = tf.saved_model.load(str(folder))
        metadata = model.signatures["metadata"]()
        serve = model.signatures["serving_default"]
    except (OSError, KeyError, AttributeError, tf.errors.OpError) as error:
        reason = first_line(error)
        raise InputError(f"--saved_model {folder} is no export of ours: {reason}") from None
    config = json.loads(metadata["config"].numpy())
    classes = Classes(
        name=metadata["dataset"].numpy().decode(),
        names=tuple(name.decode() for name in metadata["class_names"].numpy()),
        colors=tuple(map(tuple, metadata["class_colors"].numpy().tolist())),
    )
    source = metadata["confidence_source"].numpy().decode()
    return ExportedModel(model, serve, classes, config, source == "discriminator")
