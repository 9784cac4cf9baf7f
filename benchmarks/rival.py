"""PyTorch at its best: the settings that its speed depends on, and the search for the best ones.

Which settings are best depends on the machine, the network and the precision, so that each is tried
against the best so far, in turn, and kept if it is faster.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import harness
from benchmarks.workers import Contender, ContenderFailed, Worker
from tf_advseg.flags import Kind

NAME = "torch"
#: A setting is kept if it is faster by more than what noise may be.
_GAIN = 1.01

#: How the C library gives memory to PyTorch, which keeps none of its own on a CPU: anew for each
#: large tensor, which must be zeroed page by page; kept once it was had; and in huge pages.
_KEEP = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=0x10000000000"
ALLOCATORS = {
    "default": {},
    "keep": {"GLIBC_TUNABLES": _KEEP},
    "huge_pages": {"GLIBC_TUNABLES": f"{_KEEP}:glibc.malloc.hugetlb=1"},
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """How PyTorch runs.

    Attributes:
      layout: "channels_last" or "contiguous".
      norms: "folded" into the convolutions where they are frozen, or "apart".
      allocator: a name in ALLOCATORS.
      optimizer: "fused", "foreach" or "loop".
      execution: "eager", or "compiled" by `torch.compile`.
      threads: of an operation.
    """

    layout: str = "channels_last"
    norms: str = "folded"
    allocator: str = "default"
    optimizer: str = "fused"
    execution: str = "eager"
    threads: int = 1

    def __str__(self) -> str:
        return ",".join(f"{k}={v}" for k, v in dataclasses.asdict(self).items())

    def contender(self, name: str, target: str, options: dict[str, Any]) -> Contender:
        """Returns the contender that runs so."""
        options = {**options, "variant": dataclasses.asdict(self)}
        return Contender(name, target, options, ALLOCATORS[self.allocator])


#: What is tried instead of a setting's first value, in this order.
ALTERNATIVES = {
    "norms": ("apart",),
    "layout": ("contiguous",),
    "allocator": ("keep", "huge_pages"),
    "optimizer": ("foreach", "loop"),
    "execution": ("compiled",),
}
SEARCH = "search"


def kind() -> Kind:
    """The word search, or settings such as "layout=contiguous,execution=compiled"."""

    def parse(value: str) -> str:
        if value != SEARCH:
            parse_variant(value, 1)
        return value

    known = ", ".join(
        f"{name}={'|'.join((getattr(Variant(), name), *others))}"
        for name, others in ALTERNATIVES.items()
    )
    return Kind(parse, f"search, default, or some of {known}, threads=N", "search|NAME=VALUE,...")


def parse_variant(value: str, threads: int) -> Variant:
    """Returns the variant that a text names; "default" is the first value of each setting.

    Raises:
      ValueError: it names none.
    """
    variant = Variant(threads=threads)
    if value == "default":
        return variant
    for part in value.split(","):
        name, _, setting = part.partition("=")
        if name == "threads":
            variant = dataclasses.replace(variant, threads=int(setting))
        elif setting in (*ALTERNATIVES[name], getattr(Variant(), name)):
            variant = dataclasses.replace(variant, **{name: setting})
        else:
            raise ValueError
    return variant


def available(module: str) -> bool:
    """Whether a library of the contenders is installed."""
    return importlib.util.find_spec(module) is not None


def how_to_install(module: str, what: str) -> str:
    """Returns the line that says that a contender is missing."""
    return (
        f"skipped: {what}, as {module} is not installed; "
        "install: make venv REQUIREMENTS=requirements-bench.txt"
    )


def search(
    target: str,
    options: dict[str, Any],
    start: Variant,
    dimensions: Sequence[str],
    repetitions: int,
    say: Callable[[str], None],
) -> tuple[Variant, list[dict[str, Any]]]:
    """Finds the fastest variant, one setting after the other.

    Args:
      target: of the contender, as `workers.Contender` has it; options gets "variant" added.
      options: of the contender.
      start: the first champion.
      dimensions: settings to try, names of ALTERNATIVES, or "threads".
      repetitions: of champion and challenger, in turn, for each comparison.
      say: is told how each comparison ended.

    Returns:
      the fastest, and what was tried: {"setting", "speedup" over the champion then, or "error"}.

    Raises:
      ContenderFailed: the first champion failed.
    """
    tried = []
    champion = Worker(start.contender(NAME, target, options), warmup=1)
    best = start
    try:
        champion.prepare()
        for name, setting in _challenges(dimensions, start):
            challenger = dataclasses.replace(best, **{name: setting})
            entry: dict[str, Any] = {"setting": f"{name}={setting}"}
            tried.append(entry)
            worker = Worker(challenger.contender(NAME, target, options), warmup=2)
            try:
                worker.prepare()
                both = {"best": champion, "new": worker}
                measured = harness.take_turns(both, repetitions, lambda: None)
                # Of the fastest ones: what disturbs a repetition only makes it slower.
                speedup = min(measured["best"].seconds) / min(measured["new"].seconds)
                entry["speedup"] = speedup
                say(f"  torch {entry['setting']}: {speedup:.2f} times as fast")
                if speedup > _GAIN:
                    champion, worker, best = worker, champion, challenger
            except ContenderFailed as error:
                entry["error"] = str(error)[-400:]
                say(f"  torch {entry['setting']}: failed: {str(error).splitlines()[-1]}")
            finally:
                worker.close()
    finally:
        champion.close()
    return best, tried


def _challenges(dimensions: Sequence[str], start: Variant) -> list[tuple[str, Any]]:
    challenges: list[tuple[str, Any]] = []
    for name in dimensions:
        if name == "threads":
            half = start.threads // 2
            challenges += [(name, count) for count in (half,) if count > 0]
        else:
            challenges += [(name, setting) for setting in ALTERNATIVES[name]]
    return challenges
