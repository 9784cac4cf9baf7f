"""Images that the input pipeline makes in a second, on one core and on all, and PyTorch's."""

import contextlib
import dataclasses
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import folders, harness, machine, rival
from benchmarks.results import Results
from benchmarks.settings import Common
from benchmarks.workers import Contender
from tf_advseg.data import files, splits
from tf_advseg.data.labels import CACHE_VARIABLE
from tf_advseg.flags import flag, integer, number, numbers, size, text

DESCRIPTION = "Measure the input pipeline against a PyTorch DataLoader."

OURS = "benchmarks.contenders.ours_input:batches"
TORCH = "benchmarks.contenders.torch_input:batches"
RESIZES = ("torch", "Pillow")  # `torch_crops.RESIZES`, which needs PyTorch.
_PADDING_COLOR = (123.675, 116.28, 103.53)
_GENERATED = {"train": 64, "val": 1, "size": (360, 480)}


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """What is read."""

    data_dir: str | None = flag(
        None, text(), "a data set in the layout of VOC [64 generated JPEG files of 480x360]"
    )
    labeled_fraction: float = flag(
        0.5, number(0, 1, above=True), "share of its images read with labels"
    )
    batch: int = flag(4, integer(1), "labeled images in a batch, and again of unlabeled ones")
    steps: int = flag(120, integer(1), "batches of a repetition")
    crop_size: tuple[int, int] = flag((321, 321), size(), "size of the crops, in pixels")
    random_scale: tuple[float, ...] = flag(
        (0.5, 1.5), numbers(2), "smallest and largest random scale"
    )
    loaders: int = flag(2, integer(0), "most processes that PyTorch may load with")


def run(settings: Settings) -> None:
    """Measures on one core and on all, and writes and prints what came out."""
    places = _places()
    counts = range(settings.loaders + 1) if rival.available("torch") else ()
    total = len(places) * settings.repetitions * (1 + len(RESIZES) * len(counts))
    with Results("input", settings, total) as results, _data(settings) as paths:
        if not counts:
            results.skip(rival.how_to_install("torch", "PyTorch, the rival"))
        if not hasattr(os, "sched_setaffinity"):
            results.skip("skipped: one core alone, to which this system cannot restrict a process")
        options = {
            **paths,
            "batch": settings.batch,
            "steps": settings.steps,
            "crop_size": settings.crop_size,
            "scales": settings.random_scale,
            "padding_color": _PADDING_COLOR,
        }
        for where, cores in places.items():
            results.add(_measure(settings, options, where, cores, counts, results))


def _places() -> dict[str, tuple[int, ...]]:
    """Returns the cores to use, by name; none means all."""
    if not hasattr(os, "sched_setaffinity"):
        return {"all cores": ()}
    first = min(os.sched_getaffinity(0))
    return {"one core": (first,), "all cores": ()}


def _measure(
    settings: Settings,
    options: dict[str, Any],
    where: str,
    cores: tuple[int, ...],
    counts: range | tuple,
    results: Results,
) -> dict[str, Any]:
    contenders = [Contender(harness.OURS, OURS, options, cores=cores)]
    for resize, loaders in itertools.product(RESIZES, counts):
        name = f"{rival.NAME} {loaders} loaders, {resize}'s resize"
        its_options = {**options, "loaders": loaders, "resize": resize}
        contenders.append(Contender(name, TORCH, its_options, cores=cores))
    measured = harness.measure(contenders, settings.repetitions, settings.warmup, results.tick)
    images = 2 * settings.batch * settings.steps
    used = len(cores) or machine.cores()
    found: dict[str, Any] = {"case": where, "cores": used, "contenders": {}}
    for name, one in measured.items():
        rate = images / one.median
        found["contenders"][name] = {
            "images_per_second": rate,
            "images_per_second_per_core": rate / used,
            **one.summary(),
        }
    parts = [f"{name} {images / one.median:.0f} images/s" for name, one in measured.items()]
    if counts:
        rivals = {name: one for name, one in measured.items() if name != harness.OURS}
        best = min(rivals, key=lambda name: rivals[name].median)
        ratio = harness.ratio(rivals[best].seconds, measured[harness.OURS].seconds)
        found |= {"rival": best, "times_as_fast": ratio}
        parts.append(f"ours is {ratio['median']:.2f} times as fast as {best}")
    results.say("  ".join([where, *parts]) + harness.noise(measured))
    return found


@contextlib.contextmanager
def _data(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields the paths of labeled images with labels, and of unlabeled images."""
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        if settings.data_dir is None:
            folder = folders.write(Path(temporary) / "data", **_GENERATED)
            # Cached labels of files that will be gone are not for the user's cache.
            os.environ[CACHE_VARIABLE] = temporary
        else:
            folder = Path(settings.data_dir)
        dataset = files.open_dataset("folder", folder)
        split = splits.by_fraction(dataset, "train", settings.labeled_fraction, seed=0)
        labeled = files.labeled_files(dataset, split.labeled)
        yield {
            "labeled": [[str(image), str(label)] for image, label in labeled.pairs()],
            "unlabeled": [str(dataset.image_path(one)) for one in split.unlabeled or split.labeled],
        }
