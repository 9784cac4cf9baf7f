"""What grows while a run trains, or an export serves, for long: memory, files, threads, the folder.

Whatever is kept for each step, validation or request and never given back shows as a slope.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.folders import draw, indexed_label, make_voc_folder
from tests.runs import AS_PUBLISHED

_ROOT = Path(__file__).resolve().parents[2]
_MIB, _HOUR = 2**20, 3600
_EVERY, _FEWEST = 2.0, 40  # Seconds between samples, and how many there are at least.
#: Of the time. Pools and caches fill up first: tf.data starts threads for some ten minutes, and
#: each has memory of its own.
_WARM_UP = 0.5
_PARTS = 10  # Of each half, whose medians are told; a line is fitted to those of the second.
#: What a process may have more at the end of its time than after its warm-up.
_MEMORY_MAY_RISE, _FILES_MAY_RISE, _THREADS_MAY_RISE = 16 * _MIB, 2, 2
_ERRORS = 3  # A slope of fewer standard errors than that may be none.
_SERVING = 0.25  # Of the minutes; the rest trains.
#: Validation images of as many sizes, since a graph or a kernel kept for each would grow.
_VALIDATION_SIZES = [(24 + 7 * n, 60 - 5 * n) for n in range(8)]
#: Of a request to the export: what two of the served images have together. A damaged header that
#: asks for a larger image is refused then, since that takes memory that is kept, as it should be.
_MAX_PIXELS = 10_000
#: Every part of a run happens often: validation, checkpoint, curves, pictures. Not more often:
#: TensorFlow under Python 3.11 keeps about 50 bytes of each tensor made outside of a graph (its
#: issue 62551), and a validation with its checkpoint makes some 1,900.
_VALIDATE_EVERY = "100"  # Steps.
_RUN = (
    *("--dataset", "folder", *AS_PUBLISHED, "--labeled_fraction", "0.5", "--semi_start", "0"),
    *("--crop_size", "33,49", "--batch_size", "2", "--steps", str(10**8)),
    *("--eval_every", _VALIDATE_EVERY, "--checkpoint_every", _VALIDATE_EVERY),
)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A process at one time.

    Attributes:
      seconds: since it started.
      memory: resident bytes.
      files: open file descriptors.
      threads: of it.
      folder: bytes of the files that it writes.
    """

    seconds: float
    memory: int
    files: int
    threads: int
    folder: int


@dataclasses.dataclass(frozen=True)
class Drift:
    """How a process grew after its warm-up.

    Attributes:
      minutes: from the first sample that counts to the last.
      samples: that count.
      warm_up_mib: median of the resident memory in each tenth of the warm-up.
      memory_mib: the same of the time that counts.
      memory_mib_per_hour: slope of the line through those.
      memory_error: one standard error of that slope.
      files: open file descriptors at the first, and at the last.
      files_per_hour: slope of their number.
      threads: at the first, and at the last.
      folder_mib_per_hour: slope of the bytes that it wrote and kept.
    """

    minutes: float
    samples: int
    warm_up_mib: tuple[float, ...]
    memory_mib: tuple[float, ...]
    memory_mib_per_hour: float
    memory_error: float
    files: tuple[int, int]
    files_per_hour: float
    threads: tuple[int, int]
    folder_mib_per_hour: float


@dataclasses.dataclass(frozen=True)
class GrowthFigures:
    """What training and serving did.

    Attributes:
      steps: that were trained.
      training: drift of the training process.
      answered: requests that were answered.
      refused: requests with a damaged image, refused.
      serving: drift of the serving process.
    """

    steps: int
    training: Drift
    answered: int
    refused: int
    serving: Drift


def grow(
    minutes: float, folder: Path, tick: Callable[[float], None] = lambda minutes: None
) -> GrowthFigures:
    """Trains with train.py for three quarters of the time, and then serves the run's export.

    Args:
      minutes: of both, without the time to start.
      folder: for the data, the run, and the export; it must not exist.
      tick: is told how many minutes of sampling are done.

    Raises:
      RuntimeError: one of the processes ended by itself; the message has the end of its log.
    """
    folder.mkdir(parents=True)
    data, run, exports = folder / "data", folder / "run", folder / "exports"
    _write_data(data)
    train_minutes = minutes * (1 - _SERVING)
    command = ["train.py", *_RUN, "--data_dir", str(data), "--run_dir", str(run)]
    with _Child(command, folder / "train.log") as child:
        child.wait_until(lambda: _steps(run) > 0)
        training = child.watch(60 * train_minutes, run, tick)
        child.end(expected=128 + signal.SIGTERM)
    command = ["export.py", "--run_dir", run, "--output", exports, "--max_pixels", _MAX_PIXELS]
    with _Child(command, folder / "export.log") as child:
        child.end(expected=0, interrupt=False)
    answers = folder / "answers.json"
    with _Child(["-m", "tests.soak.serving_loop", exports / "1", answers], folder / "log") as child:
        child.wait_until(answers.exists)
        serving = child.watch(
            60 * minutes * _SERVING, exports, lambda done: tick(train_minutes + done)
        )
        child.end(expected=0)
    counts = json.loads(answers.read_text())
    return GrowthFigures(_steps(run), training, counts["answered"], counts["refused"], serving)


def drift(samples: Sequence[Sample]) -> Drift:
    """Fits lines to the samples after the warm-up; there must be ten before and after."""
    begin = samples[0].seconds + _WARM_UP * (samples[-1].seconds - samples[0].seconds)
    kept = [sample for sample in samples if sample.seconds >= begin]
    first, last = kept[0], kept[-1]
    _, warm_up = _medians([sample for sample in samples if sample.seconds < begin])
    times, medians = _medians(kept)
    memory, error = _slope(times, medians)
    seconds = [one.seconds for one in kept]
    files, _ = _slope(seconds, [one.files for one in kept])
    written, _ = _slope(seconds, [one.folder / _MIB for one in kept])
    return Drift(
        minutes=(last.seconds - first.seconds) / 60,
        samples=len(kept),
        warm_up_mib=tuple(round(median, 1) for median in warm_up),
        memory_mib=tuple(round(median, 1) for median in medians),
        memory_mib_per_hour=memory,
        memory_error=error,
        files=(first.files, last.files),
        files_per_hour=files,
        threads=(first.threads, last.threads),
        folder_mib_per_hour=written,
    )


def sample(pid: int, folder: Path, seconds: float) -> Sample:
    """Looks at a running process, by Linux' /proc, and at the folder that it writes."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Sample(
        seconds,
        memory=1024 * int(status["VmRSS"].split()[0]),
        files=len(os.listdir(f"/proc/{pid}/fd")),
        threads=int(status["Threads"]),
        folder=_size(folder),
    )


def problems(found: Drift) -> list[str]:
    """Returns a line for each thing that grew more than may be."""
    lines = []
    rise = found.memory_mib_per_hour * found.minutes / 60
    if rise > _MEMORY_MAY_RISE / _MIB and found.memory_mib_per_hour > _ERRORS * found.memory_error:
        lines.append(
            f"memory rose by {rise:.0f} MiB in {found.minutes:.1f} minutes; "
            f"allowed: {_MEMORY_MAY_RISE / _MIB:.0f}"
        )
    allowed = {"files": _FILES_MAY_RISE, "threads": _THREADS_MAY_RISE}
    for name, limit in allowed.items():
        first, last = getattr(found, name)
        if last - first > limit:
            lines.append(f"{name} went from {first} to {last}; allowed: {limit} more")
    return lines


def _medians(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Returns the times in seconds and the memory in MiB of each tenth, by its medians."""
    parts = [part.tolist() for part in np.array_split(np.array(samples, object), _PARTS)]
    return (
        [float(np.median([one.seconds for one in part])) for part in parts],
        [float(np.median([one.memory for one in part])) / _MIB for part in parts],
    )


def _slope(seconds: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Returns what the values grow by in an hour, and one standard error of it."""
    hours = np.array(seconds) / _HOUR
    slope, offset = np.polyfit(hours, values, 1)
    rest = np.asarray(values) - (slope * hours + offset)
    spread = np.sum((hours - hours.mean()) ** 2)
    return float(slope), float(np.sqrt(np.sum(rest**2) / (len(hours) - 2) / spread))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # A checkpoint that was replaced meanwhile.
            continue
    return total


def _steps(run: Path) -> int:
    """Returns the step of the run's last checkpoint; 0 before the first."""
    indices = (run / "checkpoints").glob("step-*.index")
    return max((int(path.stem.rpartition("-")[2]) for path in indices), default=0)


def _write_data(folder: Path) -> None:
    """Writes a data set whose validation images are all of other sizes."""
    make_voc_folder(folder, train=12, val=len(_VALIDATION_SIZES))
    for number, size in enumerate(_VALIDATION_SIZES):
        image, label = draw(np.random.default_rng(number), size, 3)
        Image.fromarray(image).save(folder / "JPEGImages" / f"val_{number}.jpg")
        indexed_label(label).save(folder / "SegmentationClass" / f"val_{number}.png")


class _Child:
    """A Python process, and what it prints. Use it in a `with` statement, which ends it."""

    def __init__(self, arguments: Sequence[object], log: Path):
        self._log = log
        self._file = log.open("w")
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=_ROOT,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_ADVSEG_CACHE": str(log.parent / "cache")},
            start_new_session=True,
        )

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *rest: object) -> None:
        self._process.kill()
        self._process.wait()
        self._file.close()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Waits for a sign that it is at work."""
        while not ready():
            self._check_alive()
            time.sleep(0.2)

    def watch(self, seconds: float, folder: Path, tick: Callable[[float], None]) -> Drift:
        """Samples it for so long, and returns how it grew."""
        samples, began = [], time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            self._check_alive()
            samples.append(sample(self._process.pid, folder, time.monotonic() - self._began))
            tick(passed / 60)
            time.sleep(min(_EVERY, seconds / _FEWEST))
        return drift(samples)

    def end(self, expected: int, *, interrupt: bool = True) -> None:
        """Ends it in good order, or waits for its end."""
        if interrupt:
            self._process.terminate()
        if self._process.wait() != expected:
            raise self._failed()

    def _check_alive(self) -> None:
        if self._process.poll() is not None:
            raise self._failed()

    def _failed(self) -> RuntimeError:
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        return RuntimeError(f"{self._process.args} ended with {self._process.returncode}:\n{tail}")
