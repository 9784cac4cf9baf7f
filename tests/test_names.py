"""Images of any name: checked, trained on, evaluated, written as masks and shown."""

from html import unescape

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests import event_files, made_evaluations, oddities
from tests.folders import make_voc_folder
from tests.test_validation import OneWorker
from tests.tiny_networks import tiny_discriminator
from tf_advseg.config import train_config
from tf_advseg.data import files, pipeline, splits
from tf_advseg.data.checks.examination import examine
from tf_advseg.data.checks.reading import survey
from tf_advseg.evaluation import masks
from tf_advseg.evaluation.inference import Prediction
from tf_advseg.models.layers import Normalize
from tf_advseg.recipe import Recipe
from tf_advseg.report import gather, write
from tf_advseg.training.tensorboard import ValidationSummaries
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.validation import Validation

TRAIN = ("straße 1", "日本", "😀 a'b\"c&<d> %s {x} $HOME #1")
VAL = ("ÅÉ é", "한국 2", "👩\u200d👩\u200d👧 x;y,z")


@pytest.fixture
def data(tmp_path):
    folder = make_voc_folder(tmp_path / "daten é 日本", train=3, val=3)
    for split, names in (("train", TRAIN), ("val", VAL)):
        for number, name in enumerate(names):
            oddities.rename_id(folder, split, f"{split}_{number}", name)
    return folder


@pytest.fixture
def found(data):
    dataset = files.open_dataset("folder", data)
    split = splits.by_fraction(dataset, "train", 1.0, seed=0)
    return files.training_files(dataset, split, "val", uses_unlabeled=True)


def test_names_are_checked_and_read(data, found):
    assert examine(survey("folder", data, "train", "val")) == []
    assert set(found.labeled.ids) == set(TRAIN)
    assert found.validation.ids == VAL
    images = pipeline.evaluation_dataset(found.labeled.images, found.labeled.labels)
    for path, (image, _) in zip(found.labeled.images, images, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(path)))


def background_everywhere(images):
    """Predicts class 0 of 3."""
    probabilities = tf.one_hot(tf.zeros(tf.shape(images)[:3], tf.int32), 3)
    return Prediction(tf.argmax(probabilities, -1), probabilities, probabilities[..., 0])


def test_masks_have_the_names(found, tmp_path):
    folder = tmp_path / "masken é"
    masks.evaluate_files(
        background_everywhere, found.validation, found.classes, made_evaluations.FULL, 0.5, folder
    )
    assert {path.name for path in folder.iterdir()} == {f"{name}.png" for name in VAL}
    again = tmp_path / "maski ł"
    images = found.validation.images[0].parent
    assert masks.segment_folder(background_everywhere, images, again, found.classes) == 6
    assert {path.name for path in again.iterdir()} == {f"{name}.png" for name in TRAIN + VAL}


def test_report_has_the_names(tmp_path):
    folder = tmp_path / "läufe 日本"
    evaluation = made_evaluations.evaluate(folder, wrong=dict.fromkeys(VAL, 5))
    write.write(gather.gather(evaluation), folder)
    page = unescape((folder / "report.html").read_text("utf-8"))
    assert all(f"{name}: mean IoU" in page for name in VAL)


def test_strips_have_the_names(data, found, tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(3, 3, padding="same")(
        Normalize("deeplab", name="normalize")(image)
    )
    trainer = AdversarialTrainer(keras.Model(image, logits), tiny_discriminator(), Recipe())
    config = train_config(["--dataset", "folder", "--data_dir", str(data)])
    scores, strips = Validation(config, found, trainer, OneWorker()).measure()
    ValidationSummaries(tmp_path, found.classes.names, selects=True).write(1, scores, None, strips)
    tags = event_files.tensors(tmp_path / "validation")
    assert [tag for tag in tags if tag.startswith("strip/")] == [f"strip/{name}" for name in VAL]
