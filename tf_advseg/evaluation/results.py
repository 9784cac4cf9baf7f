"""The file results.json. No TensorFlow here."""

import json
import math
import sys
from pathlib import Path
from typing import Any

from tf_advseg import textfile
from tf_advseg.errors import InputError

RESULTS_FILE = "results.json"

#: The usual value of "protocol"; numbers compare where both have it.
FULL_IMAGES = "full images"

#: Every key of a results.json; null where it means nothing for that run.
RESULT_KEYS = (
    "mean_iou",
    "best_mean_iou",
    "pixel_accuracy",
    "per_class_iou",
    "protocol",
    "steps",
    "images_per_second",
    "training_seconds",
    "peak_memory_bytes",
    "selected_fraction",
    "selected_accuracy",
    "selection",
    "confidence_auc",
    "probability_auc",
    "train_selected_fraction",
    "discriminator_loss",
    "method",
    "dataset",
    "seed",
    "labeled_images",
    "unlabeled_images",
)


def write(path: Path, values: dict[str, Any]) -> None:
    """Writes a results.json with every key; what JSON has not, NaN and infinity, becomes null.

    Raises:
      KeyError: `values` has a key that a results.json has not.
    """
    if unknown := set(values) - set(RESULT_KEYS):
        raise KeyError(f"unknown result keys: {sorted(unknown)}")
    document = {key: _json_value(values.get(key)) for key in RESULT_KEYS}
    textfile.write(path, json.dumps(document, indent=1) + "\n")


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> dict[str, Any] | None:
    """Returns the values of a results.json; None if there is no such file.

    Raises:
      InputError: it is no JSON object, or does not say how many steps were taken.
    """
    if not path.is_file():
        return None
    values = textfile.read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} is no JSON object")
    if not isinstance(values.get("steps"), int):
        raise InputError(f"{path} does not say how many steps were taken; delete it to go on")
    # One that an older version wrote may have fewer keys.
    return {**dict.fromkeys(RESULT_KEYS), **values}


def is_finished(run_dir: Path, steps: int) -> bool:
    """Returns whether a run has taken its steps and told what came of them.

    Raises:
      InputError: its results.json cannot be read.
    """
    found = read(run_dir / RESULTS_FILE)
    return found is not None and found["steps"] >= steps


def warn_unfinished(run_dir: Path, steps: int) -> None:
    """Says on stderr that a run is not finished, if it is not."""
    if not is_finished(run_dir, steps):
        print(f"warning: {run_dir} has not taken its {steps} steps yet", file=sys.stderr)
