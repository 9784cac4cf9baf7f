"""Seconds from a command to its help, and to its first step."""

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import folders, harness, rival
from benchmarks.parts import step
from benchmarks.results import Results
from benchmarks.settings import Common
from benchmarks.workers import Contender
from tf_advseg.data.labels import CACHE_VARIABLE
from tf_advseg.reproduce.rows import ROWS

DESCRIPTION = "Measure how long commands take to start, beside the imports of their libraries."

_ROOT = Path(__file__).resolve().parents[2]
#: The line that train.py prints once everything is imported and the data was checked.
_TRAINING_LINE = "training on "
_HELP = {
    "train.py --help": ["train.py", "--help"],
    "evaluate.py --help": ["evaluate.py", "--help"],
    "export.py --help": ["export.py", "--help"],
    "reproduce --help": ["-m", "tf_advseg.reproduce", "--help"],
    "prepare --help": ["-m", "tf_advseg.data.prepare", "voc2012", "--help"],
}
_YARDSTICKS = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import tensorflow": ["-c", "import tensorflow"],
    "import torch": ["-c", "import torch"],
}


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Nothing but what all parts have."""


def run(settings: Settings) -> None:
    """Runs each command, then each of them again, and writes and prints what came out."""
    yardsticks = dict(_YARDSTICKS)
    with_torch = rival.available("torch")
    if not with_torch:
        del yardsticks["import torch"]
    total = settings.repetitions * (len(yardsticks) + len(_HELP) + 4 + with_torch)
    with (
        Results("startup", settings, total) as results,
        tempfile.TemporaryDirectory(prefix="bench-") as temporary,
    ):
        if not with_torch:
            results.skip(rival.how_to_install("torch", "import torch"))
        folder = Path(temporary)
        environment = {CACHE_VARIABLE: temporary, "PYTHONUNBUFFERED": "1"}
        data = folders.write(folder / "data", train=8, val=1, size=(96, 96))
        seconds: dict[str, list[float]] = {}
        # Not counted: it leaves the run that evaluate.py and export.py open, and files in memory.
        _train(data, folder / "run", environment)
        for repetition in range(settings.repetitions):
            for name, arguments in (yardsticks | _HELP).items():
                seconds.setdefault(name, []).append(_command(arguments, environment)[0])
                results.tick()
            whole, until = _train(data, folder / f"run{repetition}", environment)
            seconds.setdefault("train.py, until data and libraries are there", []).append(until)
            seconds.setdefault("train.py, 1 step and 1 validation image", []).append(whole)
            results.tick()
            run_dir = ["--run_dir", str(folder / "run")]
            for name, arguments in {
                "evaluate.py, 1 image": ["evaluate.py", *run_dir],
                "export.py": ["export.py", *run_dir, "--output", str(folder / "export")],
            }.items():
                seconds.setdefault(name, []).append(_command(arguments, environment)[0])
                results.tick()
            for name, contender in _first_steps(with_torch).items():
                facts = harness.facts_of(contender)
                seconds.setdefault(name, []).append(facts["prepare_seconds"])
                results.tick()
        for name, times in seconds.items():
            median = statistics.median(times)
            results.add({"case": name, "seconds": {"median": median, "all": times}})
            results.say(f"{median:7.2f} s  {name}")


def _first_steps(with_torch: bool) -> dict[str, Contender]:
    """Returns what imports a library, builds the small networks, and takes one step."""
    case: dict[str, Any] = {
        "backbone": "small",
        "method": "semi",
        "precision": "float32",
        "batch_norm": "train",
        "num_classes": 7,
        "size": [97, 97],
        "batch": 2,
    }
    found = {"first step as a library, ours": Contender(harness.OURS, step.OURS, case)}
    if with_torch:
        variant = rival.Variant()
        contender = variant.contender(rival.NAME, step.TORCH, case)
        found["first step as a library, torch"] = contender
    return found


def _train(data: Path, run_dir: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Trains one step; returns the seconds of it all, and those until training began."""
    arguments = "train.py --dataset folder --steps 1 --labeled_fraction 0.5 --method semi"
    arguments += f" --batch_size 2 --crop_size 96 --data_dir {data} --run_dir {run_dir}"
    published = ROWS["semi_published"].flags
    return _command([*arguments.split(), *published], environment, _TRAINING_LINE)


def _command(
    arguments: list[str], environment: dict[str, str], line: str = ""
) -> tuple[float, float]:
    """Runs Python; returns the seconds until it ended, and until it printed a line that begins so.

    Raises:
      RuntimeError: it failed, or printed no such line.
    """
    printed = None
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        output = []
        for text in process.stdout:
            output.append(text)
            if printed is None and line and text.startswith(line):
                printed = time.perf_counter() - start
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if code or (line and printed is None):
        raise RuntimeError(f"{' '.join(arguments)} ended with code {code}:\n{''.join(output)}")
    return time.perf_counter() - start, printed or 0.0
