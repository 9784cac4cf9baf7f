"""The most resident memory of a training step, each contender in a fresh process."""

import dataclasses
import itertools

from benchmarks import harness, machine, rival
from benchmarks.parts import step
from benchmarks.results import Results
from benchmarks.settings import (
    BACKBONES,
    BATCH_NORMS,
    METHODS,
    PRECISIONS,
    Common,
    names,
    sizes,
)
from benchmarks.workers import Contender
from tf_advseg.flags import choice, flag, integer

DESCRIPTION = "Measure the peak resident memory of training steps, against PyTorch."

#: PyTorch's settings that memory depends on. The smallest of them is the rival.
_VARIANTS = ("default", "norms=apart", "layout=contiguous", "allocator=keep", "execution=compiled")


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Which steps are measured; `repetitions` is the number of steps of a process."""

    backbones: tuple[str, ...] = flag(
        ("resnet101",), names(BACKBONES), "networks, each with the DeepLab-v2 head"
    )
    methods: tuple[str, ...] = flag(("semi",), names(METHODS), "methods")
    precisions: tuple[str, ...] = flag(PRECISIONS, names(PRECISIONS), "precisions")
    sizes: tuple[str, ...] = flag(("321",), sizes(), "sizes of the images, in pixels")
    batch: int = flag(1, integer(1), "labeled images in a step, and again of unlabeled ones")
    num_classes: int = flag(21, integer(2, 255), "classes")
    batch_norm: str = flag("frozen", choice(BATCH_NORMS), "what the backbone's batch norm does")


def run(settings: Settings) -> None:
    """Measures all cases, and writes and prints what came out."""
    variants = _VARIANTS if rival.available("torch") else ()
    products = list(
        itertools.product(settings.backbones, settings.precisions, settings.sizes, settings.methods)
    )
    total = len(products) * settings.repetitions * (1 + len(variants))
    with Results("memory", settings, total) as results:
        if not variants:
            results.skip(rival.how_to_install("torch", "PyTorch, the rival"))
        for backbone, precision, size, method in products:
            case = step.case_of(backbone, method, precision, size, **step.shared(settings))
            contenders = [Contender(harness.OURS, step.OURS, case)]
            for text in variants:
                variant = rival.parse_variant(text, machine.cores())
                contenders.append(variant.contender(f"{rival.NAME} {text}", step.TORCH, case))
            found = {}
            for contender in contenders:
                # One at a time: what is measured here does not change with the state of the
                # machine, and all of them at once may not fit.
                one = harness.measure([contender], settings.repetitions, 0, results.tick)
                found[contender.name] = _memory(one[contender.name])
                words = _words(found[contender.name])
                results.say(f"{step.name(case)} {method} {contender.name}: {words}")
            entry = {"case": case, "contenders": found}
            if variants:
                own = found[harness.OURS]["peak_memory_bytes"]
                smallest = min(
                    one["peak_memory_bytes"] for who, one in found.items() if who != harness.OURS
                )
                entry["share_of_smallest_rival"] = own / smallest
                share = f"ours takes {own / smallest:.2f} of the smallest"
                results.say(f"{step.name(case)} {method}: {share}")
            results.add(entry)


def _memory(measured: harness.Measured) -> dict[str, int]:
    return {
        "import_memory_bytes": measured.facts["import_memory_bytes"],
        "peak_memory_bytes": measured.repetitions[-1].peak_memory_bytes,
        "peak_after_each_step": [r.peak_memory_bytes for r in measured.repetitions],
    }


def _words(memory: dict[str, int]) -> str:
    gib = {name: value / 2**30 for name, value in memory.items() if isinstance(value, int)}
    return (
        f"{gib['peak_memory_bytes']:.2f} GiB at most, "
        f"{gib['import_memory_bytes']:.2f} GiB after imports"
    )
