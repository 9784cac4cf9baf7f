"""Our input pipeline: its speed, and how it grows with the number of files."""

import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.workers import Task
from tf_advseg.data import catalog, files, lists, pipeline, splits

Options = Mapping[str, Any]

_STEPS = 1_000_000  # Of a run that does not end while it is measured.
_TIMED = 3


def batches(options: Options) -> Task:
    """Reads "steps" batches of "batch" images of each kind.

    Args:
      options: and "labeled": [image, label] paths; "unlabeled": paths; "crop_size": [h, w];
        "scales": smallest and largest; "padding_color".
    """
    dataset = pipeline.training_dataset(
        [(Path(image), Path(label)) for image, label in options["labeled"]],
        [Path(image) for image in options["unlabeled"]],
        _views(options),
        batch_size=options["batch"],
        steps=options["steps"],
        seed=0,
    )

    def run() -> None:
        for batch in dataset:
            assert batch["labeled"][0].shape[0] == options["batch"]

    return Task(run)


def many_files(options: Options) -> Task:
    """Reads "steps" batches of a data set of "count" ids that repeat the files of "data_dir".

    Its facts are the seconds of what is done once before: "list", "split", "check" and "build".
    """
    folder = Path(options["data_dir"])
    names = catalog.folder(folder).ids("train")
    list_file = folder / f"many-{options['count']}.txt"
    ids = [f"{index:08}" for index in range(options["count"])]
    # Lists of real data sets are in no order either.
    random.Random(0).shuffle(ids)
    list_file.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
    dataset = RepeatedFiles(folder, catalog.folder(folder).classes, tuple(names), list_file)
    seconds: dict[str, float] = {}
    _timed(seconds, "list", lambda: dataset.ids("train"))
    split = _timed(seconds, "split", lambda: splits.by_fraction(dataset, "train", 0.5, 0))
    found = _timed(
        seconds,
        "check",
        lambda: files.training_files(dataset, split, "val", uses_unlabeled=True),
    )
    views = _views(options)
    built = _timed(
        seconds,
        "build",
        lambda: pipeline.training_dataset(
            found.labeled.pairs(),
            found.unlabeled,
            views,
            batch_size=options["batch"],
            steps=_STEPS,
            seed=0,
        ),
    )
    iterator = iter(built)

    def run() -> None:
        for _ in range(options["steps"]):
            next(iterator)

    return Task(run, {"seconds": seconds})


@dataclasses.dataclass(frozen=True)
class RepeatedFiles(catalog.Dataset):
    """A data set of any number of ids, whose images and labels are those of a small one.

    Attributes:
      names: ids of the small one.
      list_file: the ids, one a line; for the split "train". Any other is the small one's.
    """

    names: tuple[str, ...] = ()
    list_file: Path = Path()

    def ids(self, split: str) -> list[str]:
        return lists.read_list(self.list_file) if split == "train" else super().ids(split)

    def image_path(self, image_id: str) -> Path:
        return super().image_path(self._name(image_id))

    def label_path(self, image_id: str) -> Path:
        return super().label_path(self._name(image_id))

    def _name(self, image_id: str) -> str:
        return self.names[int(image_id) % len(self.names)] if image_id.isdigit() else image_id


def _views(options: Options) -> pipeline.Views:
    return pipeline.Views(
        tuple(options["crop_size"]),
        random_scale=tuple(options["scales"]),
        padding_color=tuple(options["padding_color"]),
    )


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """Does some work several times, notes its least seconds, and returns its result."""
    times = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    seconds[name] = min(times)
    return result
