"""Seconds of a training step, ours and PyTorch's, in turn."""

import dataclasses
import itertools
from typing import Any

from benchmarks import harness, machine, rival
from benchmarks.results import Results
from benchmarks.settings import (
    BACKBONES,
    BATCH_NORMS,
    METHODS,
    PRECISIONS,
    Common,
    height_width,
    names,
    sizes,
)
from benchmarks.workers import Contender
from tf_advseg.flags import boolean, choice, flag, integer

DESCRIPTION = "Measure training steps, data in memory, against PyTorch."

OURS = "benchmarks.contenders.ours:step"
TORCH = "benchmarks.contenders.torch_tasks:step"
REFERENCE = "benchmarks.contenders.torch_tasks:reference_step"

#: Of the first step's losses, relative. bfloat16 keeps 8 bits: there it is no check of the
#: mathematics, which float32 has made, but of the precision that is asked for.
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1}
#: Losses below this are compared by their difference: where the discriminator is sure, they are the
#: exponential of a logit, whose rounding their relative difference shows many times over.
_FLOORS = {"float32": 1e-3, "bfloat16": 0.1}
#: The rival's own step against the reference's, both float32.
RIVAL_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Which steps are measured."""

    backbones: tuple[str, ...] = flag(
        BACKBONES, names(BACKBONES), "networks, each with the DeepLab-v2 head"
    )
    methods: tuple[str, ...] = flag(METHODS, names(METHODS), "methods")
    precisions: tuple[str, ...] = flag(PRECISIONS, names(PRECISIONS), "precisions")
    sizes: tuple[str, ...] = flag(("321",), sizes(), "sizes of the images, in pixels")
    batch: int = flag(1, integer(1), "labeled images in a step, and again of unlabeled ones")
    num_classes: int = flag(21, integer(2, 255), "classes")
    batch_norm: str = flag("frozen", choice(BATCH_NORMS), "what the backbone's batch norm does")
    recompute: bool = flag(
        False, boolean(), "let ours compute activations again in the backward pass"
    )
    rival: str = flag(
        rival.SEARCH,
        rival.kind(),
        "how PyTorch runs: search tries its settings for each backbone and precision and takes the "
        "fastest",
    )
    search_repetitions: int = flag(3, integer(1), "repetitions of each comparison of a search")


def run(settings: Settings) -> None:
    """Measures all cases, and writes and prints what came out."""
    cases = [
        case_of(backbone, method, precision, size, **shared(settings))
        for backbone, precision, size, method in itertools.product(
            settings.backbones, settings.precisions, settings.sizes, settings.methods
        )
    ]
    with_torch = rival.available("torch")
    total = len(cases) * settings.repetitions * (2 if with_torch else 1)
    chosen: dict[tuple, tuple] = {}
    with Results("step", settings, total) as results:
        if not with_torch:
            results.skip(rival.how_to_install("torch", "PyTorch, the rival and the oracle"))
        for case in cases:
            found: dict[str, Any] = {"case": case}
            ours = {**case, "recompute": settings.recompute}
            contenders = [Contender(harness.OURS, OURS, ours)]
            if with_torch:
                key = (case["backbone"], case["precision"], *case["size"])
                if key not in chosen:
                    chosen[key] = choose_rival(settings, case, results)
                variant, found["rival_search"] = chosen[key]
                found["rival"] = dataclasses.asdict(variant)
                contenders.append(variant.contender(rival.NAME, TORCH, case))
                found["reference_losses"] = reference_losses(case)
            measured = harness.measure(
                contenders, settings.repetitions, settings.warmup, results.tick
            )
            if with_torch:
                found["largest_loss_difference"] = check(case, measured, found["reference_losses"])
            found["contenders"] = {name: one.summary() for name, one in measured.items()}
            if with_torch:
                ratio = harness.ratio(measured[rival.NAME].seconds, measured[harness.OURS].seconds)
                found["times_as_fast"] = ratio
            results.add(found)
            results.say(line(case, measured, found.get("times_as_fast")))


def case_of(backbone: str, method: str, precision: str, size: str, **others: Any) -> dict[str, Any]:
    """Returns a case, as `benchmarks.cases` has it; `others` are what `shared` returns."""
    return {
        "backbone": backbone,
        "method": method,
        "precision": precision,
        "size": list(height_width(size)),
        **others,
    }


def shared(settings: Any) -> dict[str, Any]:
    """Returns what is the same in all cases of a command."""
    return {name: getattr(settings, name) for name in ("batch_norm", "num_classes", "batch")}


def choose_rival(
    settings: Settings, case: dict[str, Any], results: Results
) -> tuple[rival.Variant, list[dict[str, Any]]]:
    """Returns PyTorch's settings for a case and those like it, and what was tried."""
    if settings.rival != rival.SEARCH:
        return rival.parse_variant(settings.rival, machine.cores()), []
    # By the method with the most work, of those that are measured.
    method = max(settings.methods, key=METHODS.index)
    results.say(f"{name(case)}: looking for PyTorch's best settings")
    dimensions = ["norms", "layout", "allocator", "optimizer", "execution", "threads"]
    if settings.batch_norm != "frozen":
        dimensions.remove("norms")
    best, tried = rival.search(
        TORCH,
        {**case, "method": method},
        rival.Variant(threads=machine.cores()),
        dimensions,
        settings.search_repetitions,
        results.say,
    )
    results.say(f"  torch takes {best}")
    return best, tried


def reference_losses(case: dict[str, Any]) -> dict[str, float]:
    """Returns the losses that the reference's own step has, in float32."""
    return harness.facts_of(Contender("reference", REFERENCE, case))["losses"]


def check(
    case: dict[str, Any],
    measured: dict[str, harness.Measured],
    reference: dict[str, float],
) -> dict[str, float]:
    """Returns how far the first step's losses are from the reference's, relative, by contender.

    Raises:
      Disagreement: too far.
    """
    tolerance, floor = TOLERANCES[case["precision"]], _FLOORS[case["precision"]]
    exact = case["precision"] == "float32"
    tolerances = {
        harness.OURS: tolerance,
        rival.NAME: RIVAL_TOLERANCE if exact else tolerance,
    }
    return {
        who: harness.compare_losses(one.facts["losses"], reference, tolerances[who], who, floor)
        for who, one in measured.items()
    }


def name(case: dict[str, Any]) -> str:
    """Returns a case's backbone, precision and size, in words."""
    height, width = case["size"]
    return f"{case['backbone']} {case['precision']} {height}x{width}"


def line(
    case: dict[str, Any],
    measured: dict[str, harness.Measured],
    ratio: dict[str, float] | None,
) -> str:
    """Returns what came out of a case, in a line."""
    parts = [f"{name(case)} {case['method']:<8}"]
    for who, one in measured.items():
        memory = one.repetitions[-1].peak_memory_bytes / 2**30
        parts.append(f"{who} {one.median:.3f} s {memory:.2f} GiB")
    if ratio:
        parts.append(
            f"ours is {ratio['median']:.2f} times as fast "
            f"({ratio['min']:.2f} to {ratio['max']:.2f})"
        )
    return "  ".join(parts) + harness.noise(measured)
