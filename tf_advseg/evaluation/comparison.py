"""Another run's scores beside those of an evaluation. No TensorFlow here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_advseg.errors import InputError
from tf_advseg.evaluation import results


def other_run(run_dir: Path, classes: Sequence[str], protocol: str) -> dict[str, Any]:
    """Returns what a run's training left in its results.json, to compare with.

    Args:
      run_dir: of the other run.
      classes: names, that its scores must be of.
      protocol: what of the images is seen, in words; must be the other's too.

    Raises:
      InputError: it is not finished, or is of other classes or another protocol.
    """
    found = results.read(run_dir / results.RESULTS_FILE)
    if found is None:
        raise InputError(f"--compare {run_dir} holds no {results.RESULTS_FILE}; train it first")
    others = tuple(found["per_class_iou"] or ())
    if others != tuple(classes):
        raise InputError(
            f"--compare {run_dir} has the classes {', '.join(others)}; "
            f"allowed: those of the run, {', '.join(classes)}"
        )
    if found["protocol"] != protocol:
        raise InputError(
            f"--compare {run_dir} was measured on {found['protocol']}; "
            f"allowed: as the evaluation, on {protocol}"
        )
    return found


def table(own: dict[str, Any], other: dict[str, Any]) -> str:
    """Returns both runs' IoU of each class, their means and differences, as lines of text.

    Args:
      own, other: values of a results.json.
    """
    rows = [(name, iou, other["per_class_iou"][name]) for name, iou in own["per_class_iou"].items()]
    rows.append(("mean IoU", own["mean_iou"], other["mean_iou"]))
    rows.append(("pixel accuracy", own["pixel_accuracy"], other["pixel_accuracy"]))
    width = max(len(name) for name, *_ in rows)
    titles = [_title(values) for values in (other, own)]
    columns = [max(7, len(title)) for title in titles]
    line = "{:<{}}  {:>{}}  {:>{}}  {:>10}".format
    shown = [line("IoU %", width, titles[0], columns[0], titles[1], columns[1], "difference")]
    for name, here, there in rows:
        difference = "-" if None in (here, there) else f"{100 * (here - there):+.2f}"
        shown.append(
            line(name, width, _percent(there), columns[0], _percent(here), columns[1], difference)
        )
    shown.insert(-2, "-" * len(shown[0]))
    return "\n".join(shown)


def _title(values: dict[str, Any]) -> str:
    return f"{values['method']}, {values['labeled_images']} labels"


def _percent(share: float | None) -> str:
    return "absent" if share is None else f"{100 * share:.2f}"
