"""Contenders, each in a process of its own, told over a pipe to run one repetition.

Libraries keep thread pools and memory pools. In one process two of them would disturb each other;
as processes that are prepared and then wait, they can be timed in turn, A B A B, so that whatever
else slows the machine down slows both.
"""

import contextlib
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_LAST_LINES = 15


@dataclasses.dataclass(frozen=True)
class Task:
    """What a contender does, in its own process.

    Attributes:
      run: one repetition; what is timed.
      facts: what else is to be known of it: plain data, for JSON.
    """

    run: Callable[[], object]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Contender:
    """Who is measured.

    Attributes:
      name: in tables and results.
      target: "module:function" of (options) -> Task. It is called in the contender's own process.
      options: its argument; plain data.
      environment: variables that its process has beside those of this one.
      cores: the cores that it may use; empty for all.
    """

    name: str
    target: str
    options: Mapping[str, Any]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cores: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Repetition:
    """One timed run.

    Attributes:
      seconds: of wall clock.
      cpu_seconds: processor time of its process and those that it started, meanwhile.
      others_cpu_seconds: processor time that the rest of the machine took meanwhile; 0 where the
        system does not tell.
      idle_cpu_seconds: processor time that the process took between its last run and this one.
      peak_memory_bytes: the most resident memory that the process has had up to now.
    """

    seconds: float
    cpu_seconds: float
    others_cpu_seconds: float
    idle_cpu_seconds: float
    peak_memory_bytes: int


class ContenderFailed(RuntimeError):
    """A contender's process ended before its work did; the message has the end of its log."""


class Worker:
    """A contender's process. Use it in a `with` statement, which ends the process.

    Args:
      contender: who.
      warmup: repetitions before it is ready, not timed.

    Attributes:
      facts: once it is ready, its task's facts, and "import_seconds", "import_memory_bytes" and
        "prepare_seconds" (imports and warm-up included).
    """

    def __init__(self, contender: Contender, warmup: int):
        self.contender = contender
        self.facts: dict[str, Any] = {}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        order = {
            "target": contender.target,
            "options": dict(contender.options),
            "warmup": warmup,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker_main", ",".join(map(str, contender.cores))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
            cwd=_ROOT,
            env={**os.environ, **contender.environment},
            # Ctrl-C is for the command, which then ends its workers.
            start_new_session=True,
        )
        self._order = json.dumps(order)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its process, and those that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            # What was still to be said to it, nobody reads.
            with contextlib.suppress(OSError):
                stream.close()

    def prepare(self) -> None:
        """Waits until it is ready.

        Raises:
          ContenderFailed: it failed.
        """
        self.facts = self._ask(self._order)["facts"]

    def run(self) -> Repetition:
        """Runs one repetition.

        Raises:
          ContenderFailed: it failed.
        """
        return Repetition(**self._ask("run"))

    def log(self) -> str:
        """Returns what it has printed so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _ask(self, words: str) -> dict[str, Any]:
        try:
            self._process.stdin.write(words + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            tail = "\n".join(self.log().splitlines()[-_LAST_LINES:])
            raise ContenderFailed(f"{self.contender.name} ended with code {code}:\n{tail}")
        return json.loads(line)


def peak_memory_bytes() -> int:
    """Returns the most resident memory that this process has had.

    Where the kernel tells it by memory map: its other counter begins with that of the parent.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024
        return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(peak.split()[1])


def used_seconds() -> float:
    """Returns the processor time of this process and of those that it started and still run."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has just ended.
            # The name, in parentheses, may hold anything.
            fields = file.read_text().rpartition(")")[2].split()
            if int(fields[2]) == os.getpgrp() and file.parent.name != str(os.getpid()):
                ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """Returns the processor time that all processes have taken since the machine started."""
    try:
        first = Path("/proc/stat").read_text().partition("\n")[0]
    except OSError:
        return 0.0
    user, nice, system, _, _, *interrupts = map(int, first.split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
