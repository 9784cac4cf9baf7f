"""What an evaluation is told in: the values of results.json, and the table of classes."""

from typing import Any

from tf_advseg.evaluation.evaluator import Scores


def score_values(scores: Scores, names: tuple[str, ...], *, selects: bool) -> dict[str, Any]:
    """Returns the part of a results.json that an evaluation measures.

    Args:
      scores: the counts.
      names: of the classes.
      selects: whether confidence is a discriminator's, so that the selection means something.
    """
    return {
        "mean_iou": scores.mean_iou,
        "pixel_accuracy": scores.pixel_accuracy,
        "per_class_iou": scores.per_class_iou(names),
        "selected_fraction": scores.selected_fraction if selects else None,
        "selected_accuracy": scores.selected_accuracy if selects else None,
    }


def table(scores: Scores, names: tuple[str, ...], *, selects: bool) -> str:
    """Returns the IoU of each class and the means, as lines of text."""
    per_class = scores.per_class_iou(names)
    shares = scores.confusion.sum(axis=1) / max(1, scores.confusion.sum())
    width = max(len("pixel accuracy"), *(len(name) for name in names))
    lines = [f"{'class':<{width}}    IoU %  pixels %"]
    for (name, iou), share in zip(per_class.items(), shares, strict=True):
        shown = "absent" if iou is None else f"{100 * iou:.2f}"
        lines.append(f"{name:<{width}}  {shown:>7}  {100 * share:>8.2f}")
    lines.append("-" * (width + 19))
    lines.append(f"{'mean IoU':<{width}}  {100 * scores.mean_iou:>7.2f}")
    lines.append(f"{'pixel accuracy':<{width}}  {100 * scores.pixel_accuracy:>7.2f}")
    if selects:
        right = f"{100 * scores.selected_accuracy:.2f} %" if scores.selected else "none"
        share = 100 * scores.selected_fraction
        lines.append(f"{'selected':<{width}}  {share:>7.2f}  ({right} of them right)")
    return "\n".join(lines)
