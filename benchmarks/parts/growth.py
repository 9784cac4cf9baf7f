"""How the cost grows with the batch, with the area of the images and with the number of files."""

import contextlib
import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import folders, harness
from benchmarks.parts import step
from benchmarks.results import Results
from benchmarks.settings import BACKBONES, BATCH_NORMS, METHODS, PRECISIONS, Common, sizes
from benchmarks.workers import Contender
from tf_advseg.data.labels import CACHE_VARIABLE
from tf_advseg.flags import choice, flag, integer, integers

DESCRIPTION = "Measure how the cost of a step grows; 1 is in proportion."

MANY_FILES = "benchmarks.contenders.ours_input:many_files"
_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Which sizes are measured."""

    backbone: str = flag("small", choice(BACKBONES), "network, with the DeepLab-v2 head")
    method: str = flag("semi", choice(METHODS), "method")
    precision: str = flag("float32", choice(PRECISIONS), "precision")
    batch_norm: str = flag("frozen", choice(BATCH_NORMS), "what the backbone's batch norm does")
    num_classes: int = flag(21, integer(2, 255), "classes")
    batches: tuple[int, ...] = flag((1, 2, 4, 8), integers(), "batches; the size is the first")
    sizes: tuple[str, ...] = flag(
        ("161", "321", "481"), sizes(), "sizes of the images; the batch is 1"
    )
    files: tuple[int, ...] = flag(
        (1000, 10000, 100000), integers(), "numbers of training images; few files, repeated"
    )
    steps: int = flag(200, integer(1), "steps of a repetition, for the number of files")


def run(settings: Settings) -> None:
    """Measures every size, and writes and prints what came out."""
    counts = len(settings.batches) + len(settings.sizes) + len(settings.files)
    with Results("growth", settings, counts * settings.repetitions) as results:
        batches = {
            str(batch): (batch, _case(settings, settings.sizes[0], batch))
            for batch in settings.batches
        }
        _steps(settings, "batch", batches, results)
        areas = {}
        for size in settings.sizes:
            case = _case(settings, size, 1)
            areas[size] = (case["size"][0] * case["size"][1], case)
        _steps(settings, "area", areas, results)
        _files(settings, results)


def _case(settings: Settings, size: str, batch: int) -> dict[str, Any]:
    return step.case_of(
        settings.backbone,
        settings.method,
        settings.precision,
        size,
        batch_norm=settings.batch_norm,
        num_classes=settings.num_classes,
        batch=batch,
    )


def _steps(
    settings: Settings,
    title: str,
    cases: dict[str, tuple[int, dict[str, Any]]],
    results: Results,
) -> None:
    """Measures training steps; cases: {name: (what it is to be in proportion to, case)}."""
    contenders = [Contender(name, step.OURS, case) for name, (_, case) in cases.items()]
    measured = harness.measure(contenders, settings.repetitions, settings.warmup, results.tick)
    seconds = {name: one.median for name, one in measured.items()}
    # What the libraries take once imported does not grow.
    memory = {
        name: one.repetitions[-1].peak_memory_bytes - one.facts["import_memory_bytes"]
        for name, one in measured.items()
    }
    amounts = [amount for amount, _ in cases.values()]
    _report(title, amounts, {"step": seconds, "memory": memory}, measured, results)


def _files(settings: Settings, results: Results) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary, _cache(temporary):
        folder = folders.write(Path(temporary) / "data", train=8, val=2, size=(32, 32))
        options = {
            "data_dir": str(folder),
            "batch": 4,
            "steps": settings.steps,
            "crop_size": [32, 32],
            "scales": [1.0, 1.0],
            "padding_color": [0.0, 0.0, 0.0],
        }
        contenders = [
            Contender(str(count), MANY_FILES, {**options, "count": count})
            for count in settings.files
        ]
        measured = harness.measure(contenders, settings.repetitions, settings.warmup, results.tick)
    costs = {"step": {name: one.median / settings.steps for name, one in measured.items()}}
    for name, one in measured.items():
        for part, seconds in one.facts["seconds"].items():
            costs.setdefault(part, {})[name] = seconds
    costs["memory"] = {
        name: one.repetitions[-1].peak_memory_bytes - one.facts["import_memory_bytes"]
        for name, one in measured.items()
    }
    _report("files", list(settings.files), costs, measured, results)


@contextlib.contextmanager
def _cache(folder: str):
    """Keeps cached labels of files that will be gone out of the user's cache."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = folder
    try:
        yield
    finally:
        os.environ.pop(CACHE_VARIABLE)
        if before is not None:
            os.environ[CACHE_VARIABLE] = before


def _report(
    title: str,
    amounts: list[int],
    costs: dict[str, dict[str, float]],
    measured: dict[str, harness.Measured],
    results: Results,
) -> None:
    """Adds and prints costs, {what: {name: cost}}, and the exponent of each."""
    exponents = {
        what: harness.exponent(amounts, list(cost.values())) if len(cost) > 1 else None
        for what, cost in costs.items()
    }
    results.add(
        {
            "case": title,
            "amounts": amounts,
            "costs": costs,
            "exponents": exponents,
            "seconds": {name: one.summary()["seconds"] for name, one in measured.items()},
        }
    )
    for what, cost in costs.items():
        unit, scale, digits = ("MiB", _MIB, 0) if what == "memory" else ("s", 1, 4)
        values = "  ".join(f"{name}: {c / scale:.{digits}f} {unit}" for name, c in cost.items())
        grows = "" if exponents[what] is None else f"  grows by the power {exponents[what]:.2f}"
        results.say(f"{title}, {what}: {values}{grows}")
    if remark := harness.noise(measured):
        results.say(remark.strip())
