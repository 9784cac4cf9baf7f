"""What is evaluated: a run's checkpoint, or an export."""

import dataclasses
from pathlib import Path
from typing import Any

from tf_advseg import config
from tf_advseg.data.classes import Classes
from tf_advseg.evaluation.exported import load_exported
from tf_advseg.evaluation.inference import Predictor
from tf_advseg.evaluation.protocols import Predict
from tf_advseg.models.conventions import NORMALIZATIONS
from tf_advseg.models.segmenter import padding_color
from tf_advseg.options import EvaluateConfig
from tf_advseg.saved_run import load_run


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model that predicts, and what is known of it.

    Attributes:
      predict: images uint8 [B, H, W, 3] -> Prediction.
      classes: that it predicts.
      settings: the values of the configuration that it was trained with.
      selects: whether its confidence is a discriminator's.
      padding_color: outside of an image, RGB in 0-255.
      step: of the checkpoint; None for an export.
    """

    predict: Predict
    classes: Classes
    settings: dict[str, Any]
    selects: bool
    padding_color: tuple[float, float, float]
    step: int | None = None


def open_run(settings: EvaluateConfig) -> Subject:
    """Loads a checkpoint of the run in `settings.run_dir`, to predict as the settings say.

    Raises:
      InputError: there is no such run or checkpoint, or they do not fit.
    """
    run_dir = Path(settings.run_dir)
    trained = config.stored_config(run_dir)
    run = load_run(run_dir, settings.checkpoint or trained.eval_checkpoint)
    predict = Predictor(
        run.segmenter,
        run.discriminator,
        input_scale=run.config.input_scale,
        scales=settings.scales,
        flip=settings.flip,
        sliding_window=settings.sliding_window,
    )
    return Subject(
        predict,
        run.classes,
        dataclasses.asdict(run.config),
        run.discriminator is not None,
        padding_color(run.segmenter),
        run.step,
    )


def open_export(folder: Path) -> Subject:
    """Loads an exported model: a version's folder, or the folder of the versions for the newest.

    Raises:
      InputError: there is no SavedModel, or one that is not of this project.
    """
    model = load_exported(folder)
    color = NORMALIZATIONS[model.config["normalization"]].mean
    return Subject(model, model.classes, model.config, model.selects, color)
