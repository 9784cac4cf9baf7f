"""What the rows of a table may be: the methods, and methods with some flags of their own.

No TensorFlow here. To add a row, add its line.
"""

import dataclasses

from tf_advseg import registry


@dataclasses.dataclass(frozen=True)
class Row:
    """What the runs of a row have that other rows have not.

    Attributes:
      method: of train.py.
      flags: more of train.py's, which win over those of the whole table.
    """

    method: str
    flags: tuple[str, ...] = ()


#: Of the paper's tables, in their order.
PUBLISHED = ("baseline", "adv", "semi")

#: What the paper has where the preset `default` has something of its own, and the options that the
#: paper has not.
PUBLISHED_RECIPE = {
    "--ema_decay": "0",
    "--discriminator_channels": "64",
    "--discriminator_learning_rate": "1e-4",
    "--lambda_adv": "0.01",
    "--lambda_adv_unlabeled": "0.001",
    "--lambda_semi": "0.1",
    "--t_semi": "0.2",
    "--spectral_norm": "false",
    "--discriminator_sees_image": "false",
    "--label_smoothing": "0",
    "--truth_peak": "1",
    "--lambda_confidence": "0",
    "--discriminator_strides": "5",
    "--instance_noise": "0",
    "--discriminator_floor": "0",
    "--adversarial_loss": "cross_entropy",
    "--selection": "confidence",
}

#: Ways to keep the discriminator back, or to make its confidence better, each by itself.
BALANCING = {
    "sees_image": {"--discriminator_sees_image": "true"},
    "spectral_norm": {"--spectral_norm": "true"},
    "label_smoothing": {"--label_smoothing": "0.1"},
    "truth_peak": {"--truth_peak": "0.9"},
    "instance_noise": {"--instance_noise": "0.3"},
    "slow": {"--discriminator_learning_rate": "1e-5"},
    "floor": {"--discriminator_floor": "0.4"},
    "three_strides": {"--discriminator_strides": "3"},
    "hinge": {"--adversarial_loss": "hinge"},
    "least_squares": {"--adversarial_loss": "least_squares"},
    "learned_confidence": {"--lambda_confidence": "1"},
}


def _row(method: str, flags: dict[str, str]) -> Row:
    return Row(method, tuple(word for item in flags.items() for word in item))


#: What may stand in --methods.
ROWS: dict[str, Row] = {
    **{method: Row(method) for method in registry.METHODS},
    "baseline_raw": _row("baseline", {"--ema_decay": "0"}),
    "adv_published": _row("adv", PUBLISHED_RECIPE),
    "semi_published": _row("semi", PUBLISHED_RECIPE),
    **{
        f"semi_{name}": _row("semi", {**PUBLISHED_RECIPE, **flags})
        for name, flags in BALANCING.items()
    },
}
