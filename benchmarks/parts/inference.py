"""Seconds for an image with the exported model, with PyTorch's, and with OpenVINO as the limit."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, machine, rival
from benchmarks.results import Results
from benchmarks.settings import BACKBONES, Common, height_width, names, sizes
from benchmarks.workers import Contender
from tf_advseg.data.classes import VOC2012
from tf_advseg.flags import boolean, flag, integer

DESCRIPTION = "Measure the exported model, one image at a time, against PyTorch and OpenVINO."

OURS = "benchmarks.contenders.ours:inference"
EXPORT = "benchmarks.contenders.ours:export"
TORCH = "benchmarks.contenders.torch_tasks:inference"
OPENVINO = "benchmarks.contenders.openvino_tasks:inference"

#: Of probabilities, absolute; float32 in all contenders that are compared.
TOLERANCE = 1e-4
BFLOAT16 = "torch bfloat16"
LIMIT = "openvino"


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Which images are segmented."""

    backbones: tuple[str, ...] = flag(
        ("resnet101",), names(BACKBONES), "networks, each with the DeepLab-v2 head"
    )
    sizes: tuple[str, ...] = flag(
        ("321", "513", "512x1024"), sizes(), "sizes of the images, in pixels"
    )
    bfloat16: bool = flag(True, boolean(), "also PyTorch in bfloat16, for information")
    rival: str = flag(
        rival.SEARCH,
        rival.kind(),
        "how PyTorch runs: search tries its settings for each backbone and takes the fastest",
    )
    search_repetitions: int = flag(3, integer(1), "repetitions of each comparison of a search")


def run(settings: Settings) -> None:
    """Measures all cases, and writes and prints what came out."""
    rivals = 0
    if rival.available("torch"):
        rivals += 2 if settings.bfloat16 else 1
    rivals += rival.available("openvino")
    total = len(settings.backbones) * len(settings.sizes) * settings.repetitions * (1 + rivals)
    with (
        Results("inference", settings, total) as results,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        if not rival.available("torch"):
            results.skip(rival.how_to_install("torch", "PyTorch, the rival"))
        if not rival.available("openvino"):
            results.skip(rival.how_to_install("openvino", "OpenVINO, the limit"))
        for backbone in settings.backbones:
            _measure_backbone(settings, backbone, Path(folder), results)


def _measure_backbone(settings: Settings, backbone: str, folder: Path, results: Results) -> None:
    models = {
        "saved_model": str(folder / backbone),
        "plain_model": str(folder / f"{backbone}-plain"),
    }
    case = {
        "backbone": backbone,
        "precision": "float32",
        "batch_norm": "frozen",
        "num_classes": len(VOC2012),
    }
    results.say(f"{backbone}: writing the SavedModel")
    harness.facts_of(Contender("export", EXPORT, {**case, **models}))
    variant, tried = None, []
    for size in settings.sizes:
        options = {**case, "size": list(height_width(size))}
        contenders = [Contender(harness.OURS, OURS, {**options, **models})]
        if rival.available("torch"):
            if variant is None:
                variant, tried = _choose_rival(settings, options, folder, results)
            contenders.append(variant.contender(rival.NAME, TORCH, options))
            if settings.bfloat16:
                fast = {**options, "precision": "bfloat16"}
                contenders.append(variant.contender(BFLOAT16, TORCH, fast))
        if rival.available("openvino"):
            contenders.append(Contender(LIMIT, OPENVINO, {**options, **models}))
        contenders = [
            dataclasses.replace(
                one, options={**one.options, "probabilities": str(_file(folder, one.name))}
            )
            for one in contenders
        ]
        with harness.ready(contenders, settings.warmup) as workers:
            differences = _compare([one.name for one in contenders], folder)
            if LIMIT in workers and (unread := workers[LIMIT].facts["unread"]):
                results.say(f"OpenVINO reads the same networks without resizing: {unread}")
            measured = harness.take_turns(workers, settings.repetitions, results.tick)
        own = measured[harness.OURS].seconds
        ratios = {
            name: harness.ratio(one.seconds, own)
            for name, one in measured.items()
            if name != harness.OURS
        }
        results.add(
            {
                "case": {"backbone": backbone, "size": options["size"]},
                "rival": variant and dataclasses.asdict(variant),
                "rival_search": tried,
                "openvino_cannot_read": LIMIT in measured and measured[LIMIT].facts["unread"],
                "largest_probability_difference": differences,
                "contenders": {name: one.summary() for name, one in measured.items()},
                "times_as_fast": ratios,
            }
        )
        results.say(_line(f"{backbone} {size}", measured, ratios))


def _choose_rival(
    settings: Settings, options: dict[str, Any], folder: Path, results: Results
) -> tuple[rival.Variant, list[dict[str, Any]]]:
    if settings.rival != rival.SEARCH:
        return rival.parse_variant(settings.rival, machine.cores()), []
    results.say(f"{options['backbone']}: looking for PyTorch's best settings")
    best, tried = rival.search(
        TORCH,
        {**options, "probabilities": str(_file(folder, "search"))},
        rival.Variant(threads=machine.cores()),
        ("norms", "layout", "allocator", "execution", "threads"),
        settings.search_repetitions,
        results.say,
    )
    results.say(f"  torch takes {best}")
    return best, tried


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '-')}.npy"


def _compare(contenders: list[str], folder: Path) -> dict[str, float]:
    """Returns the largest difference of each contender's probabilities from ours.

    Raises:
      Disagreement: it is above the tolerance, where both are float32.
    """
    own = np.load(_file(folder, harness.OURS))
    differences = {}
    for name in contenders[1:]:
        other = np.load(_file(folder, name))
        if other.shape != own.shape:
            raise harness.Disagreement(f"{name} gives {other.shape} probabilities, not {own.shape}")
        differences[name] = difference = float(np.abs(other - own).max())
        # Written so that NaN fails too.
        if name != BFLOAT16 and not difference <= TOLERANCE:
            raise harness.Disagreement(f"probabilities of {name} differ from ours by {difference}")
    return differences


def _line(
    title: str, measured: dict[str, harness.Measured], ratios: dict[str, dict[str, float]]
) -> str:
    parts = [title]
    for name, one in measured.items():
        text = f"{name} {one.median:.3f} s"
        if name in ratios:
            text += f" (ours is {ratios[name]['median']:.2f} times as fast)"
        parts.append(text)
    return "  ".join(parts) + harness.noise(measured)
