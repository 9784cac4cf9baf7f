"""Which flags of train.py do not go together. No TensorFlow here.

What one flag may be by itself, `train_options` says.
"""

import math
from collections.abc import Collection
from pathlib import Path

from tf_advseg import flags, registry
from tf_advseg.errors import InputError
from tf_advseg.options import FULL, RANDOM_CROP
from tf_advseg.recipe import COIN_FLIP, CROSS_ENTROPY
from tf_advseg.train_options import TrainConfig


def _without_semi(config: TrainConfig) -> str:
    return "" if config.lambda_semi else "--lambda_semi 0"


#: Flag -> what it means nothing beside. That is no method that merely lacks the flag's term: all
#: methods of a table are given the same flags. But none may select by other than it is told.
_IDLE = {
    "eval_size": lambda c: c.eval_protocol == FULL and f"--eval_protocol {FULL}",
    "discriminator_momentum": lambda c: (
        c.discriminator_optimizer != "sgd" and "--discriminator_optimizer adam"
    ),
    "discriminator_betas": lambda c: (
        c.discriminator_optimizer != "adam" and "--discriminator_optimizer sgd"
    ),
    "head_dilations": lambda c: c.head != "deeplabv2" and f"--head {c.head}",
    "random_scale": lambda c: c.crop_rule != "scale" and f"--crop_rule {c.crop_rule}",
    "selection": lambda c: c.recipe().selected_by != c.selection and f"--method {c.method}",
    # 0 is what the other losses have in any case.
    "label_smoothing": lambda c: (
        c.label_smoothing
        and c.adversarial_loss != CROSS_ENTROPY
        and f"--adversarial_loss {c.adversarial_loss}"
    ),
    "semi_start": _without_semi,
    "t_probability": _without_semi,
}


def refuse_idle(given: Collection[str], config: TrainConfig) -> None:
    """Raises InputError for a flag that is given and would change nothing."""
    for name, beside in _IDLE.items():
        if name in given and (other := beside(config)):
            raise InputError(f"--{name} means nothing beside {other}; allowed: one of them")


def check(config: TrainConfig) -> None:
    """Checks settings against each other, wherever they come from.

    Raises:
      InputError: two that do not go together, or one that another needs is missing.
    """
    if config.random_scale[0] > config.random_scale[1]:
        raise InputError(f"--random_scale is {config.random_scale}; allowed: smaller, larger")
    if config.data_dir is None and config.dataset != "shapes":
        raise InputError(f"--dataset {config.dataset} needs --data_dir")
    if config.mixing == COIN_FLIP and config.recipe().unlabeled_fakes:
        raise InputError(
            "--unlabeled_fakes true means nothing beside --mixing coin_flip, where the "
            "discriminator learns in the labeled steps; allowed: one of them"
        )
    if config.mixing == COIN_FLIP and config.recipe().teacher:
        raise InputError(
            f"--method {config.method} has labeled and unlabeled images in each step; "
            "allowed: --mixing one_batch or separate"
        )
    if config.backbone_style not in (None, "keras") and config.backbone not in registry.STYLED:
        known = ", ".join(registry.STYLED)
        raise InputError(
            f"--backbone_style {config.backbone_style}: {config.backbone} has none; "
            f"allowed: keras, or one of {known}"
        )
    resized = config.crop_rule == "area" or config.eval_protocol == RANDOM_CROP
    if config.input_scale != 1 and resized:
        raise InputError(
            f"--input_scale {config.input_scale:g} means nothing to crops that are resized; "
            "allowed: 1, or --crop_rule scale and --eval_protocol full or padded"
        )
    if config.eval_protocol != FULL and config.eval_size is None:
        raise InputError(f"--eval_protocol {config.eval_protocol} needs --eval_size")
    _check_profile(config)


def check_weights(config: TrainConfig) -> None:
    """Checks that the weights exist, as far as can be told without a look into them.

    Raises:
      InputError: they do not.
    """
    if config.weights == "imagenet" and config.backbone not in registry.IMAGENET:
        known = ", ".join(registry.IMAGENET)
        raise InputError(
            f"--weights imagenet: there are none for {config.backbone}; allowed: {known}"
        )
    path = Path(config.weights)
    try:
        exists = path.exists() or path.with_name(f"{path.name}.index").is_file()
    except OSError:  # A name too long, or a folder that may not be entered.
        exists = False
    if config.weights not in ("none", "imagenet") and not exists:
        raise InputError(f"--weights is {config.weights!r}; allowed: none, imagenet, or a file")


def check_execution(steps: int | None, due: dict[str, int]) -> None:
    """Checks that nothing is due in the middle of an execution.

    Args:
      steps: of an execution; None for any.
      due: what -> the steps between two times that it is due.

    Raises:
      InputError: something is.
    """
    if steps is None:
        return
    for name, every in due.items():
        if every % steps:
            raise InputError(
                f"--steps_per_execution {steps} does not divide {name}; "
                f"allowed: a divisor of {math.gcd(*due.values())}"
            )


def _check_profile(config: TrainConfig) -> None:
    """Raises InputError if the steps of --profile are not those of an execution, or of the run."""
    if config.profile is None:
        return
    start, stop = flags.bounds(config.profile)
    if stop > config.steps:
        raise InputError(
            f"--profile {config.profile} ends after --steps {config.steps}; "
            f"allowed: STOP of at most {config.steps}"
        )
    at_once = config.steps_per_execution or 1
    if start % at_once or stop % at_once:
        raise InputError(
            f"--steps_per_execution {at_once} does not divide --profile {config.profile}; "
            f"allowed: multiples of {at_once}"
        )
