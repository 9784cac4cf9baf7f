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
PUBLISHED_RECIPE = (
    *("--ema_decay", "0"),
    *("--discriminator_channels", "64"),
    *("--discriminator_learning_rate", "1e-4"),
    *("--lambda_adv", "0.01"),
    *("--lambda_adv_unlabeled", "0.001"),
    *("--lambda_semi", "0.1"),
    *("--t_semi", "0.2"),
    *("--spectral_norm", "false"),
    *("--discriminator_sees_image", "false"),
    *("--label_smoothing", "0"),
    *("--truth_peak", "1"),
    *("--lambda_confidence", "0"),
    *("--discriminator_strides", "5"),
    *("--instance_noise", "0"),
    *("--discriminator_floor", "0"),
    *("--adversarial_loss", "cross_entropy"),
    *("--selection", "confidence"),
)

#: What may stand in --methods.
ROWS: dict[str, Row] = {
    **{method: Row(method) for method in registry.METHODS},
    "baseline_raw": Row("baseline", ("--ema_decay", "0")),
    "adv_published": Row("adv", PUBLISHED_RECIPE),
    "semi_published": Row("semi", PUBLISHED_RECIPE),
}
