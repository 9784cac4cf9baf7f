"""Which settings a resumed run may change."""

import dataclasses
from collections.abc import Collection

from tf_advseg import flags
from tf_advseg.errors import InputError
from tf_advseg.train_options import TrainConfig

#: Settings of one command, and not of the run that it begins or resumes.
_OF_A_COMMAND = {"run_dir", "resume", "profile"}
#: What a resumed run may do otherwise than it began; anything else would be another run.
CHANGEABLE = _OF_A_COMMAND | {
    *("data_dir", "steps", "eval_every", "checkpoint_every"),
    *("strategy", "steps_per_execution", "data_service", "recompute", "deterministic"),
}
_NAMES = tuple(field.name for field in dataclasses.fields(TrainConfig))


def refuse_changes(given: Collection[str], before: TrainConfig, now: TrainConfig) -> None:
    """Refuses settings with which a run cannot go on.

    Args:
      given: the names of the flags that were given.
      before: the run's settings.
      now: those that are asked for.

    Raises:
      InputError: names all of them.
    """
    fixed = [name for name in _NAMES if name in given and name not in CHANGEABLE]
    if changed := _changed(fixed, before, now):
        allowed = ", ".join(f"--{name}" for name in _NAMES if name in CHANGEABLE - _OF_A_COMMAND)
        raise InputError(
            f"{'; '.join(changed)}: the run in {before.run_dir} cannot go on so; "
            f"allowed: another --run_dir, or changes of {allowed}"
        )


def changes(before: TrainConfig, now: TrainConfig) -> list[str]:
    """Returns what a resumed run does otherwise from now on, a line for each setting."""
    told = [name for name in _NAMES if name in CHANGEABLE - _OF_A_COMMAND]
    return _changed(told, before, now)


def _changed(names: Collection[str], before: TrainConfig, now: TrainConfig) -> list[str]:
    lines = []
    for name in names:
        # As resolved: a list's path is stored absolute, but may be given relative again.
        was, becomes = getattr(before, name), getattr(now, name)
        if was != becomes:
            lines.append(f"--{name} was {flags.to_text(was)} and is {flags.to_text(becomes)} now")
    return lines
