"""Another run's scores beside those of an evaluation. No TensorFlow here."""

from pathlib import Path
from typing import Any, NamedTuple

from tf_advseg import config, flags
from tf_advseg.errors import InputError
from tf_advseg.evaluation import results
from tf_advseg.options import RANDOM_CROP

#: Settings by which two runs look at their validation images alike.
_OF_VALIDATION = ("dataset", "val_split", "eval_protocol", "eval_size", "void_as_background")


class Scored(NamedTuple):
    """A run's scores: the name that a table has them under, and values of a results.json."""

    name: str
    values: dict[str, Any]


def other_run(
    run_dir: Path, trained: dict[str, Any], classes: str, names: tuple[str, ...]
) -> Scored:
    """Returns what a run's training found on its validation images at its last step.

    Args:
      run_dir: of the other run.
      trained: the settings of the run that is evaluated.
      classes: the name of its data set.
      names: of its classes.

    Raises:
      InputError: the other run is not finished, is scored on other images or in another way, or
        its results.json is damaged.
    """
    settings = config.stored_config(run_dir)
    if not results.is_finished(run_dir, settings.steps):
        raise InputError(f"--compare {run_dir} has not taken its {settings.steps} steps yet")
    for name in _OF_VALIDATION:
        theirs, ours = getattr(settings, name), trained[name]
        if theirs != ours:
            raise InputError(
                f"--compare {run_dir} has --{name} {flags.to_text(theirs)}; "
                f"allowed: as the run, {flags.to_text(ours)}"
            )
    if trained["eval_protocol"] == RANDOM_CROP and settings.seed != trained["seed"]:
        raise InputError(
            f"--compare {run_dir} was scored on the random crops of --seed {settings.seed}; "
            f"allowed: as the run, {trained['seed']}"
        )
    if trained["eval_checkpoint"] != "last":
        raise InputError(
            "--compare is of last steps, and the run is evaluated at its "
            f"{trained['eval_checkpoint']}; allowed: a run with --eval_checkpoint last"
        )
    values = results.read(run_dir / results.RESULTS_FILE)
    _require_scores(values, run_dir / results.RESULTS_FILE)
    if values["dataset"] != classes or tuple(values["per_class_iou"]) != names:
        raise InputError(
            f"--compare {run_dir} is of {values['dataset']} with the classes "
            f"{', '.join(values['per_class_iou'])}; "
            f"allowed: as the run, {classes} with {', '.join(names)}"
        )
    return Scored(run_dir.resolve().name, values)


def _require_scores(values: dict[str, Any], path: Path) -> None:
    """Raises InputError if what the table shows is not there."""
    ious = values["per_class_iou"]
    means = (values["mean_iou"], values["pixel_accuracy"])
    if not isinstance(ious, dict) or not all(map(_is_score, (*ious.values(), *means))):
        raise InputError(f"{path} has no scores that can be compared; evaluate another run")


def _is_score(value: Any) -> bool:
    return value is None or (isinstance(value, float | int) and not isinstance(value, bool))


def table(own: Scored, other: Scored) -> str:
    """Returns the IoU of each class, the means, and what `own` has more than `other`, as text."""
    rows = [
        (n, iou, other.values["per_class_iou"][n]) for n, iou in own.values["per_class_iou"].items()
    ]
    for title, key in (("mean IoU", "mean_iou"), ("pixel accuracy", "pixel_accuracy")):
        rows.append((title, own.values[key], other.values[key]))
    widths = (
        max(len(name) for name, *_ in rows),
        *(max(7, len(run.name)) for run in (other, own)),
        10,
    )
    lines = [_line(("IoU %", other.name, own.name, "difference"), widths)]
    for name, ours, theirs in rows:
        more = "-" if None in (ours, theirs) else f"{100 * (ours - theirs):+.2f}"
        lines.append(_line((name, _percent(theirs), _percent(ours), more), widths))
    lines.insert(-2, "-" * len(lines[0]))
    return "\n".join(lines)


def _line(cells: tuple[str, ...], widths: tuple[int, ...]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join(["{:<{}}".format(*first), *("{:>{}}".format(*cell) for cell in others)])


def _percent(share: float | None) -> str:
    return "absent" if share is None else f"{100 * share:.2f}"
