"""Measures ours against PyTorch and OpenVINO: `python -m benchmarks PART [flags]`.

Each contender runs in a process of its own; this one loads neither TensorFlow nor PyTorch.
"""

import importlib
import sys

from benchmarks import settings
from tf_advseg import cli
from tf_advseg.errors import InputError

#: name -> what it measures; each is a module of that name in `benchmarks.parts`
PARTS = {
    "step": "training steps",
    "inference": "the exported model",
    "input": "the input pipeline",
    "memory": "peak memory of a training step",
    "startup": "from a command to its first step",
    "logging": "what curves and progress cost a training step",
    "growth": "cost against batch size, image area and number of files",
}
ALL = "all"

_HELP = f"""usage: {settings.PROGRAM} PART [flags]

Measures, on this machine, ours and others in turn, and writes PART.json.

parts:
{chr(10).join(f"  {name:<11}{what}" for name, what in PARTS.items())}
  {ALL:<11}one after the other

The flags of each: {settings.PROGRAM} PART --help"""


def main() -> None:
    part, *rest = sys.argv[1:] or ["--help"]
    if part in ("-h", "--help"):
        print(_HELP)
        return
    if part == ALL:
        common = settings.read(settings.Common, ALL, rest, "Measure every part.")
        for name in PARTS:
            print(f"\n{name}: {PARTS[name]}", flush=True)
            module = _module(name)
            module.run(module.Settings(**vars(common)))
        return
    if part not in PARTS:
        raise InputError(f"{part!r} is no part; allowed: {', '.join(PARTS)}, {ALL}")
    module = _module(part)
    module.run(settings.read(module.Settings, part, rest, module.DESCRIPTION))


def _module(part: str):
    return importlib.import_module(f"benchmarks.parts.{part}")


if __name__ == "__main__":
    cli.run(main, stopped="stopped; what was measured so far is in the result file")
