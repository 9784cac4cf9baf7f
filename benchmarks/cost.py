"""The tables of docs/scaling.md: `python -m benchmarks.cost`.

By calculation from the networks' layers (`step_cost` says how). Nothing is run or timed.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from benchmarks.step_cost import (
    BANDWIDTH_RATE,
    CONVOLUTION_RATE,
    GPUS,
    Gpu,
    Step,
    gradient_bytes,
    memory,
    operations,
    prediction_seconds,
    seconds,
)
from tf_advseg.reproduce.rows import PUBLISHED

VOC = Step(size=(321, 321), num_classes=21, batch_size=10)
LARGE_CROP = dataclasses.replace(VOC, size=(513, 513))
CITYSCAPES = Step(size=(512, 1024), num_classes=19, batch_size=2)
_LIBRARIES = 1.5e9  # Bytes: assumed for the context, cuDNN's workspace and fragments.
_VALIDATIONS = 10  # In a run.

Rows = Iterable[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Task:
    """A data set as the paper trains on it: a step, how many, and what is validated."""

    step: Step
    steps: int
    images: int
    image_size: tuple[int, int]


TASKS = {
    "voc2012": Task(VOC, 20_000, 1449, (375, 500)),
    "cityscapes": Task(CITYSCAPES, 40_000, 500, (1024, 2048)),
}

#: Table of the paper -> data set, and how many runs of each method it has.
TABLES = {
    "VOC, 1/8 to full": ("voc2012", {"baseline": 4, "adv": 4, "semi": 3}),
    "Cityscapes, 1/8 to full": ("cityscapes", {"baseline": 4, "adv": 4, "semi": 3}),
    "lambda_adv, 6 values": ("voc2012", {"baseline": 1, "adv": 5}),
    "lambda_semi, 4 values": ("voc2012", {"adv": 1, "semi": 3}),
    "T_semi, 5 values": ("voc2012", {"semi": 5}),
}

#: What to change where a step does not fit -> the values of it.
CHANGES = {
    "none": {},
    "`--recompute true`": {"recompute": True},
    "`--batch_size 5`": {"batch_size": 5},
    "`--crop_size 257`": {"size": (257, 257)},
    "`--output_stride 16`": {"output_stride": 16},
    "`--precision float32`": {"mixed": False},
    "`--backbone resnet50`": {"backbone": "resnet50"},
    "`--recompute true --output_stride 16`": {"recompute": True, "output_stride": 16},
}


def named(step: Step) -> str:
    """Returns a step's size and batch in words."""
    batch = f"{step.batch_size}+{step.batch_size}" if step.method == "semi" else step.batch_size
    return f"{step.size[0]}x{step.size[1]}, {step.method}, {batch}"


def each_method(steps: Iterable[Step] = (VOC, LARGE_CROP, CITYSCAPES)) -> list[Step]:
    """Returns the steps with each of the paper's methods."""
    return [dataclasses.replace(step, method=method) for step in steps for method in PUBLISHED]


def forward_rows() -> Rows:
    """Yields what one image costs forward at each size, in S and in D."""
    for step in (VOC, LARGE_CROP, CITYSCAPES):
        segmenter, judge = step.segmenter, step.discriminator
        yield (
            f"{step.size[0]}x{step.size[1]}, {step.num_classes} classes",
            f"{segmenter.operations / 1e9:.0f}",
            f"{judge.operations / 1e9:.1f}",
            f"{segmenter.kept / 1e6:.0f}",
            f"{(segmenter.kept_outputs + segmenter.largest_segment) / 1e6:.0f}",
        )


def memory_rows() -> Rows:
    """Yields operations and bytes of each step, in both precisions, with --recompute or not."""
    for step in each_method():
        variants = [
            dataclasses.replace(step, mixed=mixed, recompute=recompute)
            for mixed in (True, False)
            for recompute in (False, True)
        ]
        sizes = (f"{memory(variant) / 1e9:.1f}" for variant in variants)
        yield named(step), f"{operations(step) / 1e12:.1f}", *sizes


def time_rows(mixed: bool) -> Rows:
    """Yields milliseconds of a step on each GPU, with a mark where it does not fit."""
    for step in each_method():
        step = dataclasses.replace(step, mixed=mixed)
        yield named(step), *(time_cell(step, gpu) for gpu in GPUS)


def time_cell(step: Step, gpu: Gpu) -> str:
    """Returns the milliseconds of a step: with --recompute if only that fits, or that none does."""
    again = dataclasses.replace(step, recompute=True)
    if fits(step, gpu):
        return f"{1e3 * seconds(step, gpu):.0f}"
    return f"{1e3 * seconds(again, gpu):.0f} R" if fits(again, gpu) else "no room"


def fits(step: Step, gpu: Gpu) -> bool:
    """Whether a step has room beside what libraries take."""
    return memory(step) + _LIBRARIES <= 1e9 * gpu.memory


def table_rows() -> Rows:
    """Yields the hours of each published table on one GPU of each kind, in mixed precision."""
    for name, (data_set, runs) in TABLES.items():
        hours = (
            sum(count * run_hours(TASKS[data_set], method, gpu) for method, count in runs.items())
            for gpu in GPUS
        )
        yield name, str(sum(runs.values())), *(f"{value:.0f}" for value in hours)


def run_hours(task: Task, method: str, gpu: Gpu) -> float:
    """Returns the hours of a run with its validations; with --recompute where only that fits."""
    step = dataclasses.replace(task.step, method=method)
    if not fits(step, gpu):
        step = dataclasses.replace(step, recompute=True)
    image = dataclasses.replace(step, size=task.image_size)
    validating = _VALIDATIONS * task.images * prediction_seconds(image, gpu)
    return (task.steps * seconds(step, gpu) + validating) / 3600


def change_rows() -> Rows:
    """Yields what each change does to a step of `semi` on VOC."""
    before = memory(VOC)
    gpu = next(gpu for gpu in GPUS if gpu.name.startswith("V100"))
    for name, values in CHANGES.items():
        step = dataclasses.replace(VOC, **values)
        yield (
            name,
            f"{memory(step) / 1e9:.1f}",
            f"{100 * (memory(step) / before - 1):+.0f} %" if values else "",
            f"{operations(step) / 1e12:.1f}",
            f"{1e3 * seconds(step, gpu):.0f}",
        )


def markdown(head: Sequence[str], rows: Rows) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Prints every table."""
    cards = [gpu.name for gpu in GPUS]
    size = "size, method, batch"
    print(f"convolutions at {CONVOLUTION_RATE:.0%}, memory at {BANDWIDTH_RATE:.0%} of the peak\n")
    head = ("one image, forward", "S, GFLOP", "D, GFLOP", "kept, M values", "with --recompute")
    print(markdown(head, forward_rows()), "\n")
    head = (size, "TFLOP", "mixed, GB", "and --recompute", "float32, GB", "and --recompute")
    print(markdown(head, memory_rows()), "\n")
    for mixed in (True, False):
        print(f"ms a step, {'mixed precision' if mixed else 'float32'}; R: with --recompute\n")
        print(markdown((size, *cards), time_rows(mixed)), "\n")
    print("hours of the published tables, one seed\n")
    print(markdown(("table", "runs", *cards), table_rows()), "\n")
    head = (f"change to {named(VOC)}", "GB", "memory", "TFLOP", "ms on V100")
    print(markdown(head, change_rows()), "\n")
    print(f"replicas exchange {gradient_bytes(VOC) / 1e6:.0f} MB of gradients a step")


if __name__ == "__main__":
    main()
