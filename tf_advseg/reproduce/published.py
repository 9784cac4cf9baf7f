"""Published mean IoU, in %, of the cells that a run can be compared with.

Paper: Hung et al., tables 1 and 2 of arXiv 1802.07934. `semi` at 1/2 of VOC is 73.2 in the ICLR
submission, which the challenge entry compares itself with, and 73.8 in the BMVC version.
Challenge: the README of mohitzsh/Adversarial-Semisupervised-Semantic-Segmentation.
Both: DeepLab-v2 with ResNet-101 from COCO weights; VOC's 10,582 augmented training images.
"""

import dataclasses
from collections.abc import Mapping

from tf_advseg.data.catalog import Dataset

PAPER, CHALLENGE = SOURCES = ("paper", "challenge")

Cell = tuple[str, float]  # Method and labeled fraction.


@dataclasses.dataclass(frozen=True)
class Published:
    """What was published on a data set.

    Attributes:
      dataset: name of the data set's classes.
      train_split, val_split: its lists.
      training_images, validation_images: how many ids they have.
      mean_iou: source -> cell -> mean IoU in %.
    """

    dataset: str
    train_split: str
    val_split: str
    training_images: int
    validation_images: int
    mean_iou: Mapping[str, Mapping[Cell, float]]


PUBLISHED = (
    Published(
        "voc2012",
        "train_aug",
        "val",
        10582,
        1449,
        {
            PAPER: {
                ("baseline", 0.125): 66.0,
                ("baseline", 0.25): 68.3,
                ("baseline", 0.5): 69.8,
                ("baseline", 1.0): 73.6,
                ("adv", 0.125): 67.6,
                ("adv", 0.25): 71.0,
                ("adv", 0.5): 72.6,
                ("adv", 1.0): 74.9,
                ("semi", 0.125): 69.5,
                ("semi", 0.25): 72.1,
                ("semi", 0.5): 73.2,
            },
            CHALLENGE: {
                ("baseline", 0.5): 67.84,
                ("baseline", 1.0): 69.98,
                ("adv", 0.5): 68.89,
                ("adv", 1.0): 70.97,
                ("semi", 0.5): 69.05,
            },
        },
    ),
    Published(
        "cityscapes",
        "train",
        "val",
        2975,
        500,
        {
            PAPER: {
                ("baseline", 0.125): 55.5,
                ("baseline", 0.25): 59.9,
                ("baseline", 0.5): 64.1,
                ("baseline", 1.0): 66.4,
                ("adv", 0.125): 57.1,
                ("adv", 0.25): 61.8,
                ("adv", 0.5): 64.6,
                ("adv", 1.0): 67.7,
                ("semi", 0.125): 58.8,
                ("semi", 0.25): 62.3,
                ("semi", 0.5): 65.7,
            },
        },
    ),
)


def published(dataset: Dataset, train_split: str, val_split: str) -> Mapping:
    """Returns source -> (method, fraction) -> mean IoU in %; empty for other data or other lists.

    Raises:
      InputError: a list that the data set has not.
    """
    for known in PUBLISHED:
        if (known.dataset, known.train_split, known.val_split) == (
            dataset.classes.name,
            train_split,
            val_split,
        ):
            counts = len(dataset.ids(train_split)), len(dataset.ids(val_split))
            if counts == (known.training_images, known.validation_images):
                return known.mean_iou
    return {}
