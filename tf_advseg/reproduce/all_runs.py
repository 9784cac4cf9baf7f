"""All runs of a table, one after the other, and the table after each."""

import sys

from tf_advseg import progress
from tf_advseg.errors import InputError
from tf_advseg.lock import locked
from tf_advseg.reproduce import gather, grid, runner, write

_LOGS = "logs"
#: Work of a step in that of a baseline's, as calculated for ResNet-101: with a discriminator, and
#: with unlabeled images too (docs/scaling.md). It only spaces the progress.
_BASELINE, _ADVERSARIAL, _UNLABELED = 1.0, 1.1, 2.1


def run_all(planned: grid.Grid, command: str) -> gather.Table:
    """Runs what is not finished, unless only the table is asked for; writes and returns that.

    The table is written after each run.

    Args:
      planned: every run.
      command: that the table says it is made by.

    Raises:
      InputError: train.py refused its input, or the folder cannot be written.
      SystemExit: with code 1, after the rest, if a run failed.
    """
    folder = planned.output_dir
    try:
        (folder / _LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make --output_dir {folder}: {error.strerror}") from None
    with locked(folder, f"another process works in --output_dir {folder}; allowed: another one"):
        work = _write if planned.own.table_only else _run_waiting
        return work(planned, command)


def _run_waiting(planned: grid.Grid, command: str) -> gather.Table:
    logs = planned.output_dir / _LOGS
    waiting = [run for run in planned.runs if gather.outcome_of(run) is None]
    shown = _AllRuns(planned.runs, waiting)
    failures = []
    table = _write(planned, command)
    for run in waiting:
        shown.begin(run)
        reason = runner.train(run, logs / f"{run.folder.name}.log", shown.step)
        table = _write(planned, command)
        shown.end(run, reason)
        if reason:
            failures.append(f"{run.title}: {reason}")
    shown.close()
    if failures:
        for failure in failures:
            print(f"failed: {failure}", file=sys.stderr)
        raise SystemExit(1)
    return table


def _write(planned: grid.Grid, command: str) -> gather.Table:
    table = gather.gather(planned)
    try:
        write.write(table, planned.output_dir, command)
    except OSError as error:
        folder = planned.output_dir
        raise InputError(f"cannot write to --output_dir {folder}: {error.strerror}") from None
    return table


class _AllRuns:
    """The progress over all runs, in steps of the baseline."""

    def __init__(self, runs: tuple[grid.Run, ...], waiting: list[grid.Run]):
        total = sum(_work(run, run.settings.steps) for run in runs)
        self._finished = total - sum(_work(run, run.settings.steps) for run in waiting)
        # Of interrupted runs too, so that the rate is of what this process does.
        begun = sum(_work(run, gather.steps_taken(run)) for run in waiting)
        self._later = begun
        self._count, self._index = len(waiting), 0
        self._run: grid.Run | None = None
        done = round(self._finished + begun)
        self._progress = progress.Progress("reproduce", round(total), done=done)

    def begin(self, run: grid.Run) -> None:
        self._run = run
        self._later -= _work(run, gather.steps_taken(run))
        self._index += 1
        self._progress.say(f"run {self._index} of {self._count}: {run.title}")

    def step(self, taken: int) -> None:
        self._progress.update(round(self._finished + self._later + _work(self._run, taken)))

    def end(self, run: grid.Run, failure: str | None) -> None:
        self._finished += _work(run, run.settings.steps)
        self._progress.update(round(self._finished + self._later))
        outcome = gather.outcome_of(run)
        if failure or outcome is None or outcome.mean_iou is None:
            self._progress.say(f"{run.title}: failed: {failure or 'no mean IoU'}")
        else:
            self._progress.say(f"{run.title}: mean IoU {100 * outcome.mean_iou:.2f} %")

    def close(self) -> None:
        self._progress.close()


def _work(run: grid.Run, steps: int) -> float:
    recipe = run.settings.recipe()
    if recipe.uses_unlabeled:
        return _UNLABELED * steps
    return steps * (_ADVERSARIAL if recipe.uses_discriminator else _BASELINE)
