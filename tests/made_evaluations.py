"""Evaluations of a made-up model, which takes the classes that it predicts from the image."""

import dataclasses

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_advseg.data.classes import Classes
from tf_advseg.data.files import LabeledFiles
from tf_advseg.evaluation import masks, tables
from tf_advseg.evaluation.inference import Prediction
from tf_advseg.evaluation.protocols import Protocol
from tf_advseg.evaluation.subject import Subject
from tf_advseg.options import EvaluateConfig
from tf_advseg.report.gather import Evaluation
from tf_advseg.train_options import TrainConfig

# Names that would break a page or a table; "never" is in no image.
NAMES = ("sky", "<b>&", "never", "a|b*_c_")
CLASSES = Classes("<i>set", NAMES, ((1, 2, 3), (200, 0, 0), (0, 200, 0), (0, 0, 200)))
SIZE = 8
#: How many pixels of each image are wrong, by id; None for an image that is all void.
WRONG = {"e": 40, "b": 10, "a<b>": 0, "void": None, "d": 30, "c": 20, "f": 50, "g": 60}
T_SEMI = 0.45
FULL = Protocol("full")


def read_classes(images):
    """Red is the predicted class, green the confidence in %, blue the probability in %."""
    values = tf.cast(images, tf.float32)
    class_ids = tf.cast(values[..., 0], tf.int32)
    probabilities = tf.one_hot(class_ids, len(NAMES)) * values[..., 2:] / 100
    return Prediction(class_ids, probabilities, values[..., 1] / 100 + 0.002)


def write_files(folder, wrong):
    """Writes images that are predicted as sky, of which so many pixels are <b>& in truth."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    images, labels = [], []
    for number, count in enumerate(wrong.values()):
        image = generator.integers(20, 100, (SIZE, SIZE, 3)).astype(np.uint8)
        image[..., 0] = 0
        label = np.full(SIZE * SIZE, 255 if count is None else 0, np.uint8)
        label[: count or 0] = 1
        images.append(folder / f"i{number}.png")
        labels.append(folder / f"l{number}.png")
        Image.fromarray(image).save(images[-1])
        Image.fromarray(label.reshape(SIZE, SIZE)).save(labels[-1])
    return LabeledFiles(tuple(wrong), tuple(images), tuple(labels))


def evaluate(folder, *, wrong=WRONG, selects=True, protocol=FULL, settings=None):
    """Evaluates the made-up model as evaluate.py does."""
    folder.mkdir(exist_ok=True)
    files = write_files(folder / "files", wrong)
    trained = dataclasses.asdict(TrainConfig(method="semi", steps=200, t_semi=T_SEMI))
    subject = Subject(read_classes, CLASSES, trained, selects, (0.0, 0.0, 0.0), step=180)
    evaluated = masks.evaluate_files(read_classes, files, CLASSES, protocol, T_SEMI)
    values = tables.score_values(evaluated.scores, NAMES, selects=selects)
    values |= {"best_mean_iou": 0.875, "dataset": CLASSES.name, "method": "semi", "seed": 3}
    values |= {"labeled_images": 4, "unlabeled_images": None, "steps": 180}
    values |= {"protocol": protocol.describe(), "images_per_second": 1.0}
    return Evaluation(
        folder,
        settings or EvaluateConfig(run_dir=str(folder)),
        subject,
        read_classes,
        files,
        protocol,
        evaluated,
        values,
    )
