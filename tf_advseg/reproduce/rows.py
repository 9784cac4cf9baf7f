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

#: The discriminator and the selection of the paper, whatever the preset has.
_PUBLISHED_DISCRIMINATOR = (
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
    "baseline_ema": Row("baseline", ("--ema_decay", "0.99")),
    "adv_published": Row("adv", _PUBLISHED_DISCRIMINATOR),
    "semi_published": Row("semi", _PUBLISHED_DISCRIMINATOR),
}
