"""Numbers in words, the same in both forms of the report."""

import math

from tf_advseg.report.content import Confusion, Reliability, Score

NONE = "none"
NO_CONFUSION = "No class is taken for another in 1 % of its pixels or more."


def percent(share: float | None, digits: int = 2) -> str:
    """Returns a share in 0-1 as percent; a share that is None or NaN is no number."""
    if share is None or math.isnan(share):
        return NONE
    return f"{100 * share:.{digits}f} %"


def whole_percent(share: float) -> str:
    """Returns a share in 0-1 as whole percent, without a unit."""
    return f"{100 * share:.0f}"


def number(value: float) -> str:
    """Returns a value to four digits."""
    return NONE if math.isnan(value) else f"{value:.4g}"


def confusion(item: Confusion) -> str:
    """Returns a confusion as a sentence."""
    share = f"{whole_percent(item.share)} %"
    return f"{item.true} is taken for {item.predicted}: {share} of its pixels"


def without_class(images: int) -> str:
    """Returns how many images have no score."""
    return f"Images without a pixel that has a class, and so without a score: {images}."


def reliability(told: Reliability) -> list[str]:
    """Returns what the confidences are worth, in sentences."""
    sentences = [_area(score) for score in told.scores]
    if (own := told.own) is None:
        return [
            "The run has no discriminator, and so no confidence but the largest probability.",
            *sentences,
        ]
    kept = (
        f"At the run's own T_semi of {own.threshold:g}, the discriminator's confidence keeps "
        f"{percent(own.fraction)} of the pixels"
    )
    if own.pixels:
        kept += f", of which {percent(own.accuracy)} are right"
    return [f"{kept}.", *sentences]


def _area(score: Score) -> str:
    if score.auc is None:
        return f"By {score.name}, there is no area under the ROC curve: all pixels are of one kind."
    return (
        f"By {score.name}, the area under the ROC curve is {score.auc:.4f}: a right pixel has a "
        f"higher one than a wrong pixel in {percent(score.auc, 1)} of all such pairs."
    )
