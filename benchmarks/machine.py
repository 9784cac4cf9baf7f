"""The machine: what it is, and how fast its matrix products are right now."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import harness, rival
from benchmarks.settings import PRECISIONS
from benchmarks.workers import Contender

_LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "torch", "openvino")
#: Variables that change how the libraries run.
_VARIABLES = re.compile(
    r"(TF_(CPP|ENABLE|DISABLE|XLA|NUM|GPU|FORCE)|G?OMP|KMP|MKL|GLIBC|MALLOC|ONEDNN|DNNL)_|LD_PRELOAD"
)
_SIDE = 2048
_REPETITIONS = 10
_ONEDNN = re.compile(r"oneDNN v([\d.]+)")


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Returns the processor, memory, system, libraries and thread settings, as plain data."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "environment": {k: v for k, v in sorted(os.environ.items()) if _VARIABLES.match(k)},
        "niceness": os.nice(0),
        "commit": _commit(),
    }


def limits(tick: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Measures products of float32 and bfloat16 matrices, by each library in turn.

    Returns:
      {"tensorflow": {"float32": GFLOP/s, "bfloat16": ..., "onednn": its version,
      "threads": ...}, "torch": ...};
      no "torch" where it is not installed.
    """
    libraries = {"tensorflow": "ours"}
    if rival.available("torch"):
        libraries["torch"] = "torch_tasks"
    contenders = [
        Contender(
            f"{library} {precision}",
            f"benchmarks.contenders.{module}:matmul",
            {"side": _SIDE, "precision": precision, "threads": cores()},
            {"ONEDNN_VERBOSE": "1"},  # Says its version, once; a line a product costs nothing.
        )
        for library, module in libraries.items()
        for precision in PRECISIONS
    ]
    found: dict[str, Any] = {library: {} for library in libraries}
    with harness.ready(contenders, warmup=2) as workers:
        measured = harness.take_turns(workers, _REPETITIONS, tick)
        for name, worker in workers.items():
            library, precision = name.split()
            found[library][precision] = round(2 * _SIDE**3 / measured[name].median / 1e9, 1)
            found[library]["threads"] = worker.facts["threads"]
            if version := _ONEDNN.search(worker.log()):
                found[library]["onednn"] = version[1]
            elif worker.facts.get("onednn"):
                found[library]["onednn"] = worker.facts["onednn"]
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    fields = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    model = fields.get("model name", platform.processor())
    return f"{model} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Returns the commit that is measured, with "+" if files were changed since; None without."""
    root = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def warn_if_busy() -> None:
    """Says so where other work is on the machine."""
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > 0.5:
        print(
            f"warning: the load was {load:.1f} before this began; "
            "other work on the machine makes times uncertain",
            file=sys.stderr,
        )
