"""Prepares a published data set: `python -m tf_advseg.data.prepare NAME --data_dir DIR`.

NumPy is imported after the flags are checked, and TensorFlow is not at all.
"""

import sys

from tf_advseg import cli, registry
from tf_advseg.data.prepare.settings import PROGRAM
from tf_advseg.errors import InputError

_HELP = f"""usage: {PROGRAM} NAME [flags]

Brings a published data set from its archives into a folder that train.py reads.

names: {", ".join(registry.PREPARED)}

The flags of each: {PROGRAM} NAME --help"""


def main() -> None:
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_HELP)
        return
    if name not in registry.PREPARED:
        raise InputError(f"{name!r} is no data set; allowed: {', '.join(registry.PREPARED)}")
    registry.load(registry.PREPARED, name)(rest)


if __name__ == "__main__":
    cli.run(main, stopped="stopped; the same command goes on")
