"""What ends a script before its work is done, other than a bug."""


class InputError(ValueError):
    """A wrong flag, path, data set or file: the scripts tell it in one line and exit with code 2.

    The message names what was given and what is allowed.
    """


class Interrupted(Exception):
    """A signal ended the work in good order, after what could be saved was saved."""

    def __init__(self, signal_number: int):
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number


class WorkerLost(Exception):
    """Another of the machines that train a run together is gone; none can go on without it."""


class OutOfMemory(Exception):
    """The work needs more memory than there is; the message names settings that need less."""


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text, or its type's name where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
