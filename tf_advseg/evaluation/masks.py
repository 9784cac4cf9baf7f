"""Evaluation and segmentation of files, with their predictions written as masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advseg.data import pipeline, unreadable
from tf_advseg.data.catalog import IMAGE_SUFFIXES
from tf_advseg.data.classes import Classes
from tf_advseg.data.files import LabeledFiles
from tf_advseg.data.images import check_images
from tf_advseg.data.lists import first_repeated
from tf_advseg.errors import InputError
from tf_advseg.evaluation import batching, evaluator
from tf_advseg.evaluation.image_scores import ImageScores
from tf_advseg.evaluation.pictures import save_mask
from tf_advseg.evaluation.protocols import Predict, Protocol
from tf_advseg.progress import track


class Evaluated(NamedTuple):
    """What was counted.

    Attributes:
      scores: over all images.
      image_mean_ious: of each image by itself, in the order of the files; NaN without a class.
    """

    scores: evaluator.Scores
    image_mean_ious: tuple[float, ...]


def evaluate_files(
    predict: Predict,
    files: LabeledFiles,
    classes: Classes,
    protocol: Protocol,
    t_semi: float,
    save_masks: Path | None = None,
    limit: batching.BatchLimit | None = None,
) -> Evaluated:
    """Evaluates images with labels.

    Args:
      predict: images [B, H, W, 3] -> Prediction; already wrapped by the protocol.
      files: the images and labels.
      classes: that are predicted.
      protocol: what of an image is seen.
      t_semi: the confidence above which a pixel counts as selected.
      save_masks: a folder to write each prediction to, as ID.png; None to write none.
      limit: of a batch; None for what suits the device.

    Raises:
      InputError: an image cannot be read, or the folder cannot be written.
    """
    ids = iter(files.ids)
    image_scores = ImageScores(len(classes))

    def on_image(image: tf.Tensor, label: tf.Tensor, prediction: evaluator.ImagePrediction) -> None:
        class_ids, image_id = prediction.class_ids[0], next(ids)
        image_scores.add(label, class_ids)
        if save_masks is not None:
            _write(save_masks / f"{image_id}.png", class_ids, classes)

    if save_masks is not None:
        _prepare_folder(save_masks, files.images)
    images = track(protocol.images(files), "evaluating image", len(files.ids))
    with unreadable.naming_unreadable(files.images, files.labels):
        scores = evaluator.evaluate(predict, images, len(classes), t_semi, on_image, limit)
    return Evaluated(scores, image_scores.mean_ious())


def segment_folder(
    predict: Predict,
    images: Path,
    save_masks: Path,
    classes: Classes,
    limit: batching.BatchLimit | None = None,
) -> int:
    """Writes the mask of every image of a folder, as ID.png, and returns their number.

    Args:
      predict: images [B, H, W, 3] -> Prediction.
      images: the folder.
      save_masks: the folder to write to; made if it is missing.
      classes: that are predicted.
      limit: of a batch; None for what suits the device.

    Raises:
      InputError: the folder holds no image, two of one name, or one that cannot be read.
    """
    paths = sorted(
        p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
    )
    if not paths:
        raise InputError(f"--images {images} holds no image; allowed: {', '.join(IMAGE_SUFFIXES)}")
    names = [path.stem for path in paths]
    if (twice := first_repeated(names)) is not None:
        raise InputError(f"--images {images} holds two images of the name {twice!r}")
    check_images(paths)
    masks = [save_masks / f"{name}.png" for name in names]
    _prepare_folder(save_masks, paths)
    dataset = track(pipeline.evaluation_dataset(paths, ()), "segmenting image", len(paths))
    items = ((image,) for image in dataset)
    with unreadable.naming_unreadable(paths):
        for batch in batching.batches_by_size(items, limit or batching.default_limit()):
            predicted = predict(batch.stacked(0)).class_ids
            for position, class_ids in zip(batch.positions, predicted.numpy(), strict=True):
                _write(masks[position], class_ids, classes)
    return len(paths)


def _prepare_folder(folder: Path, images: Sequence[Path]) -> None:
    """Makes the folder that masks go to, unless they could overwrite what is read."""
    # Labels too: they have the masks' names, in a folder beside the images'.
    inputs = {image.parent.resolve() for image in images}
    inputs |= {parent.parent / "SegmentationClass" for parent in inputs}
    if folder.resolve() in inputs:
        raise InputError(f"--save_masks {folder} holds images or labels; allowed: another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to --save_masks {folder}: {error.strerror}") from None


def _write(path: Path, class_ids: tf.Tensor | np.ndarray, classes: Classes) -> None:
    """Writes class ids, integers [H, W], as a mask."""
    try:
        save_mask(path, np.asarray(class_ids), classes.colors)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
