"""One run of a table, as a process of its own, watched."""

import contextlib
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tf_advseg.errors import InputError, Interrupted
from tf_advseg.reproduce.grid import Run

_STEP = re.compile(r"step (\d+)/\d+ ")  # Of `progress.Progress`.
_WRONG_INPUT = 2
_STOPPED = tuple(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
_ERROR = "error: "


def train(run: Run, log: Path, on_step: Callable[[int], None]) -> str | None:
    """Runs train.py to its end.

    A signal that ends this process is passed on, and waited for: the run then has a checkpoint.

    Args:
      run: which one; it is begun, or gone on with.
      log: what train.py prints is added to this file.
      on_step: is given the number of steps taken, now and then.

    Returns:
      None, or why the run failed, in one line.

    Raises:
      InputError: train.py refused its input; the other runs would fare no better.
      Interrupted: somebody else stopped train.py by a signal.
    """
    lines: list[str] = []

    def heed(line: str) -> None:
        file.write(line)
        file.flush()
        lines.append(line.rstrip())
        if found := _STEP.match(line):
            on_step(int(found[1]))

    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {run.shown_command}\n")
            code = _watched(run.command, heed)
    except OSError as error:
        raise InputError(f"cannot write {log}: {error.strerror}") from None
    if code == 0:
        return None
    if code in _STOPPED:
        raise Interrupted(code - 128)
    reason = _reason(lines, code)
    if code == _WRONG_INPUT:
        raise InputError(f"{run.title}: {reason}")
    return f"{reason}; see {log}"


def _watched(command: list[str], heed: Callable[[str], None]) -> int:
    """Runs a command, gives each line that it prints to `heed`, and returns its exit code."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches it through us alone, and so once.
    )
    try:
        for line in process.stdout:
            heed(line)
        return process.wait()
    except BaseException as error:
        # Whatever ends this process must not leave the run behind, alone on the machine.
        number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
        rest = _end(process, number)
        with contextlib.suppress(OSError):  # A full disk may be what ends it.
            heed(rest)
        raise


def _end(process: subprocess.Popen, number: int) -> str:
    """Passes a signal on, waits for the checkpoint, and returns what was printed meanwhile.

    A second signal is passed on too; it ends train.py at once.
    """
    process.send_signal(number)
    try:
        return process.communicate()[0]
    except (KeyboardInterrupt, Interrupted):
        process.send_signal(number)
        process.wait()
        raise


def _reason(lines: list[str], code: int) -> str:
    """Returns the last error that train.py told, or else its last words."""
    told = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return told[-1] if told else f"train.py ended with code {code}: {last}"
