"""Presets: named sets of values for the flags of train.py, each with its command.

docs/fidelity.md says where each value of the published recipes comes from.
"""

from typing import Any

from tf_advseg.recipe import EMA_DECAY

# What the published recipes have in common. All want a GPU and pretrained weights; none was run
# yet on VOC or Cityscapes. The colour scale and the weights' form follow from --weights.
_PUBLISHED: dict[str, Any] = {
    "backbone": "resnet101",
    "weights": "imagenet",
    "batch_size": 10,
    "crop_size": (321, 321),
    "steps": 20000,
    "learning_rate": 2.5e-4,
    "lambda_adv": 0.01,
    "lambda_semi": 0.1,
    "align_corners": True,
    "discriminator_padding": "one",
    "discriminator_init": "torch",
    "discriminator_learning_rate": 1e-4,
}

#: For few labels and random weights: a teacher for the unlabeled images, and a discriminator that
#: stays in balance and whose confidence is worth something. README.md has what it was measured on.
_DEFAULT: dict[str, Any] = {
    "method": "semi_plus",
    "ema_decay": EMA_DECAY,
    "discriminator_channels": 16,
    "discriminator_strides": 3,
    "discriminator_sees_image": True,
    "discriminator_learning_rate": 1e-3,
    "label_smoothing": 0.1,
    "truth_peak": 0.9,
    "lambda_confidence": 1.0,
    "lambda_semi": 1.0,
    "t_semi": 0.7,
    "t_probability": 0.5,
}

#: Preset -> the values in which it differs from the defaults of TrainConfig.
PRESETS: dict[str, dict[str, Any]] = {
    # python train.py
    # 2 CPU cores: 3 minutes, mean IoU 33.9 %; --method baseline 27.6 % (seed 0).
    "demo": {
        **_DEFAULT,
        "dataset": "shapes",
        "run_dir": "runs/demo",
        "labeled_fraction": 1 / 16,
        "batch_size": 4,
        "crop_size": (64, 64),
        "random_scale": (1.0, 1.0),  # The objects are drawn at all sizes; more only slows learning.
        "steps": 1000,
        "ema_decay": 0.97,  # An average over 100 steps would lie too far behind in so short a run.
        "learning_rate": 0.2,
        "head_learning_rate_scale": 0.03,
        "lambda_semi": 3.0,
    },
    # python train.py --dataset folder --data_dir DIR
    # The small backbone from scratch.
    "default": _DEFAULT,
    # python train.py --preset paper --dataset voc2012 --data_dir DIR --labeled_fraction 0.125
    # Section 4.1. Where the paper says nothing, what its authors' code does.
    "paper": {
        **_PUBLISHED,
        "nesterov": True,
        "weight_decay": 1e-4,
        "head_learning_rate_scale": 10.0,
        "batch_norm": "frozen_affine",
        "lambda_adv_unlabeled": 0.001,
        "t_semi": 0.2,
        "semi_start": 5000,
    },
    # python train.py --preset authors --dataset voc2012 --data_dir DIR --labeled_fraction 0.125
    # hfslyc/AdvSemiSeg, by the command in its README, which leaves random scale and mirror off.
    "authors": {
        **_PUBLISHED,
        "random_scale": (1.0, 1.0),
        "random_flip": False,
        "nesterov": False,
        "weight_decay": 5e-4,
        "head_learning_rate_scale": 10.0,
        "batch_norm": "frozen_affine",
        "head_dilations": (6, 12),
        "normalization": "authors",
        "lambda_adv_unlabeled": 0.001,
        "t_semi": 0.2,
        "semi_start": 5000,
        "mixing": "separate",
        "unlabeled_fakes": True,
        "discriminator_loss_scale": 0.5,
        "eval_protocol": "padded",
        "eval_size": (505, 505),
    },
    # python train.py --preset challenge --dataset voc2012 --data_dir DIR --labeled_fraction 0.5
    # mohitzsh/Adversarial-Semisupervised-Semantic-Segmentation.
    "challenge": {
        **_PUBLISHED,
        "crop_rule": "area",
        "random_flip": False,
        "void_as_background": True,
        "nesterov": True,
        "weight_decay": 1e-4,
        "head_learning_rate_scale": 1.0,
        "batch_norm": "train",
        "normalization": "imagenet",
        "lambda_adv_unlabeled": 0.01,
        "t_semi": 0.1,
        "semi_start": 0,
        "mixing": "coin_flip",
        "label_smoothing": 0.1,
        "discriminator_outputs": 2,
        "discriminator_padding": "two",
        "discriminator_optimizer": "sgd",
        "discriminator_momentum": 0.5,
        "discriminator_weight_decay": 1e-4,
        "eval_protocol": "random_crop",
        "eval_size": (321, 321),
        "eval_checkpoint": "best",
    },
}

#: Of the paper. The two codes have no Cityscapes; they get the paper's crop, batch and length.
_CITYSCAPES = {"crop_size": (512, 1024), "batch_size": 2, "steps": 40000}

#: (preset, data set) -> what the preset has otherwise for this data set.
FOR_DATASET: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "cityscapes"): _CITYSCAPES,
    ("authors", "cityscapes"): {**_CITYSCAPES, "eval_protocol": "full", "eval_size": None},
    # Cityscapes has no class "background".
    ("challenge", "cityscapes"): {
        **_CITYSCAPES,
        "void_as_background": False,
        "eval_size": (512, 1024),
    },
}

#: Data set -> what every preset has otherwise for it.
_LISTS = {"voc2012": {"train_split": "train_aug"}}


def train_split(dataset: str) -> str:
    """Returns the name of the list that a data set is trained on, unless told otherwise."""
    return _LISTS.get(dataset, {}).get("train_split", "train")


def preset_values(preset: str, dataset: str | None) -> dict[str, Any]:
    """Returns a preset's values for a data set; None means the preset's own, or the default."""
    values = PRESETS[preset]
    dataset = dataset or values.get("dataset", "shapes")
    return {**values, **_LISTS.get(dataset, {}), **FOR_DATASET.get((preset, dataset), {})}
