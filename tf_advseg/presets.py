"""Presets: named sets of values for the flags of train.py, each with its command."""

from typing import Any

#: Preset -> the values in which it differs from the defaults of TrainConfig.
PRESETS: dict[str, dict[str, Any]] = {
    # python train.py
    # 2 CPU cores: 3 minutes, mean IoU 34.1 % (seed 0).
    "demo": {
        "dataset": "shapes",
        "run_dir": "runs/demo",
        "labeled_fraction": 0.5,
        "crop_size": (96, 96),
        "random_scale": (1.0, 1.0),  # The objects are drawn at all sizes; more only slows learning.
        "discriminator_channels": 32,
        "spectral_norm": True,
        "steps": 600,
        "learning_rate": 0.2,
        "head_learning_rate_scale": 0.03,
    },
    # python train.py --dataset folder --data_dir DIR
    # The defaults: the small backbone from scratch.
    "default": {},
    # python train.py --preset paper --dataset folder --data_dir DIR
    # The paper's section 4.1, as far as it says. Not run yet: it wants a GPU and ImageNet weights.
    "paper": {
        "backbone": "resnet101",
        "weights": "imagenet",
        "batch_size": 10,
        "crop_size": (321, 321),
        "steps": 20000,
        "learning_rate": 2.5e-4,
        "head_learning_rate_scale": 10.0,
        "lambda_adv": 0.01,
        "lambda_adv_unlabeled": 0.001,
        "lambda_semi": 0.1,
        "t_semi": 0.2,
        "semi_start": 5000,
    },
}
