"""A run, opened from its folder: its networks, and the weights of one of its checkpoints."""

import dataclasses
from pathlib import Path

import keras
import tensorflow as tf

from tf_advseg import checkpoint_files
from tf_advseg.config import BEST, CHECKPOINTS, CLASSES_FILE, stored_config
from tf_advseg.data.classes import Classes
from tf_advseg.data.classes_file import read_classes
from tf_advseg.errors import InputError, first_line
from tf_advseg.models.discriminator import build_discriminator
from tf_advseg.models.segmenter import build_segmenter
from tf_advseg.train_options import TrainConfig

#: Of a checkpoint: the segmenter, and the one of averaged weights, if the run has it.
SEGMENTER, AVERAGED = "segmenter", "averaged"

#: What TensorFlow raises for a checkpoint that is damaged or of other networks.
UNREADABLE = (AssertionError, ValueError, IndexError, tf.errors.OpError)


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """What a run folder holds.

    Attributes:
      config: as resolved when it was trained.
      classes: of its data set.
      segmenter: float32, with the checkpoint's weights, averaged ones if it has them, whatever
        precision it was trained in; for inference, as all of its batch norm is frozen.
      discriminator: the same; None if the method trains none.
      checkpoint: the path prefix of the weights.
      step: of the checkpoint.
    """

    config: TrainConfig
    classes: Classes
    segmenter: keras.Model
    discriminator: keras.Model | None
    checkpoint: str
    step: int


def load_run(run_dir: Path, checkpoint: str) -> SavedRun:
    """Builds a run's networks for inference in float32, and loads a checkpoint.

    Args:
      run_dir: the run's folder.
      checkpoint: "last", "best", or the path prefix of one.

    Raises:
      InputError: there is no such run or checkpoint, or they do not fit.
    """
    config = stored_config(run_dir)
    classes = read_classes(run_dir / CLASSES_FILE)
    path = find_checkpoint(run_dir, checkpoint)
    # Frozen, batch norm is folded into the convolutions before it.
    frozen = dataclasses.replace(config, batch_norm="frozen")
    segmenter, discriminator = build_networks(frozen, len(classes), "float32")
    part = AVERAGED if config.recipe().ema_decay else SEGMENTER
    step = restore_networks(path, segmenter, discriminator, part)
    return SavedRun(config, classes, segmenter, discriminator, path, step)


def build_networks(
    config: TrainConfig, num_classes: int, precision: str
) -> tuple[keras.Model, keras.Model | None]:
    """Builds a run's segmenter and its discriminator, if its method has one, with random weights.

    Args:
      config: of the run.
      num_classes: of its data set.
      precision: a Keras dtype policy.
    """
    segmenter = build_segmenter(
        config.backbone,
        config.head,
        num_classes=num_classes,
        output_stride=config.output_stride,
        batch_norm=config.batch_norm,
        backbone_style=config.backbone_style or "keras",
        normalization=config.normalization,
        head_dilations=config.head_dilations,
        align_corners=config.align_corners,
        recompute=config.recompute,
        precision=precision,
    )
    if not config.recipe().uses_discriminator:
        return segmenter, None
    discriminator = build_discriminator(
        num_classes,
        channels=config.discriminator_channels,
        outputs=config.discriminator_outputs,
        padding=config.discriminator_padding,
        init=config.discriminator_init,
        align_corners=config.align_corners,
        spectral_norm=config.spectral_norm,
        strides=config.discriminator_strides,
        sees_image=config.discriminator_sees_image,
        confidence_head=bool(config.lambda_confidence),
        precision=precision,
    )
    return segmenter, discriminator


def find_checkpoint(run_dir: Path, name: str) -> str:
    """Returns the path prefix of a checkpoint: "last", "best", or a prefix that is given.

    Raises:
      InputError: there is none.
    """
    folder = run_dir / CHECKPOINTS
    folders = {"last": folder, "best": folder / BEST}
    if name in folders:
        if not (steps := checkpoint_files.steps(folders[name])):
            raise InputError(f"no checkpoint in {folders[name]}; train first")
        return checkpoint_files.prefix(folders[name], steps[-1])
    prefix = name.removesuffix(".index")
    if not Path(f"{prefix}.index").is_file():
        raise InputError(
            f"no checkpoint {name}; allowed: last, best, or a path like {folder}/step-100"
        )
    return prefix


def restore_networks(
    checkpoint: str,
    segmenter: keras.Model,
    discriminator: keras.Model | None,
    part: str = SEGMENTER,
) -> int:
    """Loads the networks of a checkpoint, of any training precision, and returns its step.

    Args:
      checkpoint: its path prefix.
      segmenter: is given the weights of `part`.
      discriminator: is given its own; None if the run has none.
      part: SEGMENTER or AVERAGED.

    Raises:
      InputError: the checkpoint is not of these networks, or cannot be read.
    """
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    parts = {part: segmenter, "step": step}
    if discriminator is not None:
        parts["discriminator"] = discriminator
    try:
        status = tf.train.Checkpoint(**parts).restore(checkpoint)
        status.assert_existing_objects_matched().expect_partial()
    except UNREADABLE as error:
        raise InputError(f"cannot load the checkpoint {checkpoint}: {first_line(error)}") from None
    return int(step)
