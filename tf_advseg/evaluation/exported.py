"""An exported SavedModel in the place of a predictor."""

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_advseg import flags, textfile
from tf_advseg.data.classes import Classes
from tf_advseg.errors import InputError, first_line
from tf_advseg.evaluation.export_files import check_graph, newest_version
from tf_advseg.evaluation.inference import Prediction
from tf_advseg.train_options import TrainConfig

#: What comes of loading something else, among it an InputError, and what TensorFlow raises.
_NOT_OURS = (OSError, KeyError, AttributeError, TypeError, ValueError, tf.errors.OpError)


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
    folder = newest_version(folder)
    check_graph(folder)
    try:
        model = tf.saved_model.load(str(folder))
        metadata = {key: value.numpy() for key, value in model.signatures["metadata"]().items()}
        serve = model.signatures["serving_default"]
        document = textfile.parse_json(metadata["config"].decode())
        values = flags.values_from_document(TrainConfig, document, "its configuration")
        if values.get("normalization") is None:
            raise ValueError("its configuration has no normalization")
        classes = Classes(
            name=metadata["dataset"].decode(),
            names=tuple(name.decode() for name in metadata["class_names"]),
            colors=tuple(map(tuple, metadata["class_colors"].tolist())),
        )
        source = metadata["confidence_source"].decode()
    except _NOT_OURS as error:
        reason = first_line(error)
        raise InputError(f"--saved_model {folder} is no export of ours: {reason}") from None
    config = dataclasses.asdict(dataclasses.replace(TrainConfig(), **values))
    return ExportedModel(model, serve, classes, config, source == "discriminator")
