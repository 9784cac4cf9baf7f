"""What the scripts share: how errors and signals become messages and exit codes."""

import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from tf_advseg import textfile
from tf_advseg.errors import InputError, Interrupted, OutOfMemory, WorkerLost


def run(main: Callable[[], None], *, stopped: str = "") -> NoReturn:
    """Runs `main` and ends the process: 0 done, 2 wrong input, 128 + a signal's, else 1.

    Wrong input, numbers that are none, too little memory, and the loss of another machine are told
    in one line; anything else is a bug and shows where it is.

    Args:
      main: the work.
      stopped: what is printed when a signal ends it.
    """
    quiet_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of classes and images may be in any script; a terminal without it gets escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # As nohup has it.
        signal.signal(signal.SIGHUP, _end)
    try:
        main()
    except InputError as error:
        _tell(error)
        sys.exit(2)
    except (FloatingPointError, OutOfMemory, WorkerLost) as error:
        _tell(error)
        sys.exit(1)
    except (Interrupted, KeyboardInterrupt) as end:
        if stopped:
            print(stopped)
        sys.exit(128 + getattr(end, "signal_number", signal.SIGINT))
    sys.exit(0)


def _tell(error: Exception) -> None:
    # It may quote a file's name or content, which may hold what a terminal obeys.
    print("error: " + textfile.printable(" ".join(str(error).split())), file=sys.stderr)


def _end(number: int, frame: Any) -> NoReturn:
    raise Interrupted(number)


def quiet_libraries() -> None:
    """Keeps notes that no user can act on off the screen; a variable set by the user wins."""
    # TensorFlow 2.15 logs three CUDA registration "errors" at each start, with or without a GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Pillow warns at half of the pixels that it takes; those above are refused by `data.images`.
    warnings.filterwarnings("ignore", r"Image size .* could be decompression bomb")
    # Keras calls a validation between two steps a slow callback.
    logging.getLogger("tensorflow").addFilter(
        lambda record: "is slow compared" not in str(record.msg)
    )
