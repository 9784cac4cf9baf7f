"""The result file of a part: written after each case, so that what was measured is kept."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.settings import Common
from tf_advseg import textfile
from tf_advseg.errors import InputError
from tf_advseg.progress import Progress


class Results:
    """Collects a part's cases, and writes them. Use it in a `with` statement.

    Args:
      part: its name.
      settings: of the part.
      total: how many repetitions are planned, for the time left.
    """

    def __init__(self, part: str, settings: Common, total: int):
        self._path = Path(settings.output_dir) / f"{part}.json"
        self._limits = settings.limits
        self._done = 0
        self._progress = Progress(part, total)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to --output_dir: {error}") from None
        self._values: dict[str, Any] = {
            "part": part,
            "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "finished": False,
            "settings": dataclasses.asdict(settings),
            "machine": machine.describe(),
            "matmul_gflops": {},
            "skipped": [],
            "cases": [],
        }

    def __enter__(self) -> "Results":
        machine.warn_if_busy()
        self._measure_limits("before")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._measure_limits("after")
            self._values["finished"] = True
        self._progress.close()
        self._write()
        print(f"numbers in {self._path}", flush=True)

    def tick(self) -> None:
        """Tells that one repetition is done."""
        self._done += 1
        self._progress.update(self._done)

    def say(self, text: str) -> None:
        """Prints a line."""
        self._progress.say(text)

    def skip(self, text: str) -> None:
        """Says and notes what is not measured, and why."""
        self.say(text)
        self._values["skipped"].append(text)

    def add(self, case: dict[str, Any]) -> None:
        """Adds what a case gave, and writes the file."""
        self._values["cases"].append(case)
        self._write()

    def _measure_limits(self, when: str) -> None:
        if not self._limits:
            return
        found = machine.limits()
        self._values["matmul_gflops"][when] = found
        for library, speeds in found.items():
            self.say(
                f"matrix products {when}, {library}: float32 {speeds['float32']:.0f}, "
                f"bfloat16 {speeds['bfloat16']:.0f} GFLOP/s"
            )

    def _write(self) -> None:
        textfile.write(self._path, json.dumps(self._values, indent=1) + "\n")
